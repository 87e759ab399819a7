import { chmodSync, mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { makePrivateDirectory, writeJson } from '../disk/atomic.ts';
import type { Paths } from '../disk/paths.ts';
import { TinyrunError } from '../errors.ts';
import { noteUse } from '../image/last-used.ts';
import { isUnpacked } from '../image/layers.ts';
import type { PullEvent } from '../image/pull-events.ts';
import type { StoredImage } from '../image/stored-image.ts';
import type { Platform } from '../oci/image-spec.ts';
import { timestamp } from './clock.ts';
import type { ContainerRecord } from './containers.ts';
import type { Core } from './core.ts';
import { containerEvent } from './events.ts';
import { newId } from './ids.ts';
import { checkName, releaseName, reserveGeneratedName, reserveName } from './names.ts';
import type { CreateOptions, MountRequest } from './options.ts';
import { Rollback } from './rollback.ts';
import { argumentsOf } from './spec-process.ts';

export type PullPolicy = 'always' | 'missing' | 'never';

export interface CreateHow {
  /** Default `missing`. */
  readonly pull?: PullPolicy;
  /** Told the familiar name of an image that has to be pulled because it is not there. */
  readonly onMissing?: (name: string) => void;
  readonly onPullEvent?: (event: PullEvent) => void;
  readonly signal?: AbortSignal;
}

export interface Created {
  readonly record: ContainerRecord;
  readonly image: StoredImage;
}

/**
 * Makes a container: image, id, name, directories, container.json. Nothing of it is left where it fails.
 * @throws TinyrunError `invalid` (no command, bad name), `conflict` (name taken), and what pulling throws
 */
export async function createContainer(
  core: Core,
  options: CreateOptions,
  how: CreateHow = {},
): Promise<Created> {
  const name = options.name === undefined ? undefined : checkName(options.name);
  const store = await core.store();
  // Until the record is on disk nothing else says that the image is needed.
  const lease = await store.lease();
  try {
    const image = await imageFor(core, options, how);
    core.phase('image');
    if (!needsVolumes(options, image)) return await makeContainer(core, { options, image, name });
    const { withVolumes } = await import('./container-volumes.ts');
    return await withVolumes(core, { options, image }, (mounts) =>
      makeContainer(core, { options, image, name, mounts }),
    );
  } finally {
    lease.release();
  }
}

function needsVolumes(options: CreateOptions, { config }: StoredImage): boolean {
  return (
    (options.volumesFrom ?? []).length > 0 ||
    options.mounts.some(({ type }) => type === 'volume') ||
    Object.keys(config.config.Volumes ?? {}).length > 0
  );
}

interface Making {
  readonly options: CreateOptions;
  readonly image: StoredImage;
  readonly name: string | undefined;
  readonly mounts?: readonly MountRequest[];
}

async function makeContainer(core: Core, { options, image, name, mounts }: Making): Promise<Created> {
  await using undo = new Rollback();
  const args = argumentsOf(image.config.config, options);
  const id = newId();
  const { paths } = core;
  makeDirectories(paths, id);
  undo.defer(async () => (await import('../native/syscalls.ts')).removeTree(paths.container(id)));
  if (name !== undefined) reserveName(paths, name, id);
  const reserved = name ?? reserveGeneratedName(paths, id);
  undo.defer(() => releaseName(paths, reserved, id));
  const record = recordOf({ id, name: reserved, image, args, options, mounts });
  writeRecord(paths, record);
  noteUse(paths, image.id);
  undo.commit();
  await containerEvent(core, record, 'create');
  core.phase('create');
  return { record, image };
}

/** Makes a container anew that a failed start with --rm has removed already, for another try. */
export function restoreContainer(paths: Paths, record: ContainerRecord): void {
  makeDirectories(paths, record.id);
  reserveName(paths, record.name, record.id);
  writeRecord(paths, record);
}

function makeDirectories(paths: Paths, id: string): void {
  makePrivateDirectory(paths.containers);
  mkdirSync(paths.container(id), { mode: 0o710 });
  mkdirSync(paths.upper(id), { mode: 0o755 });
  // Whatever the umask is: the mode of `upper` is the mode that `/` has in the container.
  chmodSync(paths.upper(id), 0o755);
  mkdirSync(paths.work(id), { mode: 0o700 });
  mkdirSync(paths.rootfs(id), { mode: 0o710 });
  mkdirSync(dirname(paths.log(id)), { mode: 0o700 });
}

/** Last of all: a directory without a record is no container yet. A power cut may lose it; recovery clears it away. */
function writeRecord(paths: Paths, record: ContainerRecord): void {
  writeJson(paths.containerRecord(record.id), record, { durable: false });
}

/** The image, pulled where the policy says so. */
async function imageFor(core: Core, options: CreateOptions, how: CreateHow): Promise<StoredImage> {
  const policy = how.pull ?? 'missing';
  const store = await core.store();
  if (policy !== 'always') {
    const present = store.resolve(options.image, await platformOf(options, store.host));
    if (present !== undefined) {
      if (isUnpacked(core.paths, present.config.rootfs.diff_ids)) return present;
      return (await import('./unpack-stored.ts')).unpackStored(core, present, how.signal);
    }
    const { familiarName, parseReference } = await import('../registry/reference.ts');
    const name = familiarName(parseReference(options.image));
    if (policy === 'never') throw new TinyrunError('not_found', `No such image: ${name}`);
    how.onMissing?.(name);
  }
  const { pullImage } = await import('./pull.ts');
  const pulled = await pullImage(core, options.image, {
    ...(options.platform === undefined ? {} : { platform: options.platform }),
    ...(how.onPullEvent === undefined ? {} : { onEvent: how.onPullEvent }),
    ...(how.signal === undefined ? {} : { signal: how.signal }),
  });
  return pulled.image;
}

async function platformOf(options: CreateOptions, host: Platform): Promise<Platform | undefined> {
  if (options.platform === undefined) return undefined;
  const { parsePlatform } = await import('../registry/platform.ts');
  return parsePlatform(options.platform, host);
}

function recordOf(from: {
  id: string;
  name: string;
  image: StoredImage;
  args: readonly string[];
  options: CreateOptions;
  mounts: readonly MountRequest[] | undefined;
}): ContainerRecord {
  const { os, architecture, variant, config } = from.image.config;
  return {
    version: 1,
    id: from.id,
    name: from.name,
    created: timestamp(),
    image: {
      id: from.image.id,
      manifestDigest: from.image.manifestDigest,
      platform: { os, architecture, ...(variant === undefined ? {} : { variant }) },
      config,
    },
    args: from.args,
    options: from.options,
    ...(from.mounts === undefined ? {} : { mounts: from.mounts }),
  };
}
