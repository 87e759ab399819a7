import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { makePrivateDirectory, readJson, writeJson } from '../disk/atomic.ts';
import type { Paths } from '../disk/paths.ts';
import { errorCode, TinyrunError } from '../errors.ts';

/** A directory of ours that outlives the containers that mount it: volume.json, and `_data` beside it. */
export interface Volume {
  readonly name: string;
  readonly driver: 'local';
  readonly labels: Readonly<Record<string, string>>;
  /** Of the local driver: `type`, `device`, `o`. */
  readonly options: Readonly<Record<string, string>>;
  /** RFC 3339, UTC. */
  readonly created: string;
  /** Made for one container by a mount without a name: `rm -v` and `--rm` remove it. */
  readonly anonymous: boolean;
}

export interface VolumeRequest {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly options: Readonly<Record<string, string>>;
  readonly anonymous: boolean;
  /** RFC 3339, UTC. */
  readonly created: string;
}

/**
 * Docker's grammar of volume names: also what keeps a name from being a path.
 * @throws TinyrunError `invalid` in Docker's words
 */
export function checkVolumeName(name: string): string {
  if (/^[a-zA-Z0-9][a-zA-Z0-9_.-]{1,254}$/.test(name)) return name;
  throw new TinyrunError(
    'invalid',
    `create ${name}: ${JSON.stringify(name)} includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path`,
  );
}

/**
 * Makes a volume, whole or not at all: it appears by a rename. One that is there already is given back as it is.
 * @throws TinyrunError `conflict` where it is there with other options
 */
export function createVolume(paths: Paths, request: VolumeRequest): Volume {
  const name = checkVolumeName(request.name);
  const existing = findVolume(paths, name);
  if (existing !== undefined) return sameOptions(existing, request);
  const volume: Volume = { ...request, name, driver: 'local' };
  makePrivateDirectory(paths.volumes);
  const temporary = mkdtempSync(join(paths.volumes, '.new-'));
  try {
    mkdirSync(join(temporary, '_data'), { mode: 0o755 });
    writeJson(join(temporary, 'volume.json'), volume);
    renameSync(temporary, paths.volume(name));
    return volume;
  } catch (error) {
    rmSync(temporary, { recursive: true, force: true });
    const other = isTaken(error) ? findVolume(paths, name) : undefined;
    if (other === undefined) throw error;
    return sameOptions(other, request);
  }
}

function isTaken(error: unknown): boolean {
  return ['EEXIST', 'ENOTEMPTY'].includes(errorCode(error) ?? '');
}

function sameOptions(volume: Volume, { options }: VolumeRequest): Volume {
  const wanted = Object.entries(options);
  const same =
    wanted.length === 0 ||
    (wanted.length === Object.keys(volume.options).length &&
      wanted.every(([key, value]) => volume.options[key] === value));
  if (same) return volume;
  throw new TinyrunError(
    'conflict',
    `create ${volume.name}: volume ${JSON.stringify(volume.name)} exists with other options`,
    { hint: `Remove it first ("tinyrun volume rm ${volume.name}"), or choose another name` },
  );
}

/** One volume by its whole name; undefined where there is none. */
export function findVolume(paths: Paths, name: string): Volume | undefined {
  if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/.test(name)) return undefined;
  return readJson(paths.volumeRecord(name), (value) => {
    if (isVolume(value)) return value;
    throw new TinyrunError('internal', 'not a volume record of this version');
  });
}

function isVolume(value: unknown): value is Volume {
  if (typeof value !== 'object' || value === null) return false;
  const { name, labels, options, created } = value as Partial<Record<keyof Volume, unknown>>;
  return (
    typeof name === 'string' &&
    typeof labels === 'object' &&
    typeof options === 'object' &&
    typeof created === 'string'
  );
}

/** All volumes, by name. */
export function listVolumes(paths: Paths): Volume[] {
  return volumeNames(paths).flatMap((name) => findVolume(paths, name) ?? []);
}

function volumeNames(paths: Paths): string[] {
  return namesIn(paths.volumes)
    .filter((name) => !name.startsWith('.'))
    .sort();
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return [];
    throw error;
  }
}

/**
 * Takes a volume out of sight. Nobody may be using it: the caller holds the lock of the volumes and has looked.
 * @returns the directory that is left to be deleted
 */
export function discardVolume(paths: Paths, name: string): string {
  makePrivateDirectory(paths.trash);
  const target = join(paths.trash, `volume-${name.slice(0, 200)}-${Date.now()}`);
  renameSync(paths.volume(name), target);
  return target;
}

/**
 * What commands that were killed left: volumes half made, content half copied. The caller holds the lock of the volumes
 * exclusively, so that nobody is making any.
 */
export function abandonedVolumes(paths: Paths): string[] {
  const below = (directory: string, prefix: string): string[] =>
    namesIn(directory)
      .filter((name) => name.startsWith(prefix))
      .map((name) => join(directory, name));
  return [
    ...below(paths.volumes, '.new-'),
    ...volumeNames(paths).flatMap((name) => below(paths.volume(name), '.fill-')),
  ];
}
