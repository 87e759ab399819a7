import { withLock } from '../disk/lock.ts';
import { TinyrunError } from '../errors.ts';
import { checkDriverOptions } from '../volumes/local-driver.ts';
import {
  abandonedVolumes,
  createVolume,
  discardVolume,
  findVolume,
  listVolumes,
  type Volume,
} from '../volumes/volumes.ts';
import { timestamp } from './clock.ts';
import { volumeEvent } from './container-volumes.ts';
import { type ContainerRecord, containerIds, containerMounts, readRecord } from './containers.ts';
import type { Core } from './core.ts';
import { treeSize } from './tree-size.ts';

export interface NewVolume {
  /** Absent: 64 hex digits. */
  readonly name?: string;
  readonly driver?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly options?: Readonly<Record<string, string>>;
}

/** A volume with what is known of its use. */
export interface VolumeFacts extends Volume {
  /** Absolute path of the host. */
  readonly mountpoint: string;
  /** Ids of the containers that mount it, also of stopped ones. */
  readonly users: readonly string[];
}

/** `volume create`. One that is there already is given back as it is. */
export async function newVolume(core: Core, request: NewVolume): Promise<string> {
  const { driver = 'local', labels = {}, options = {} } = request;
  if (driver !== 'local') {
    throw new TinyrunError('unsupported', `volume driver ${JSON.stringify(driver)} is not supported`, {
      hint: 'There is one driver, "local"; its options type, device and o mount directories of the host and tmpfs',
    });
  }
  checkDriverOptions(options);
  const { randomBytes } = await import('node:crypto');
  const name = request.name ?? randomBytes(32).toString('hex');
  return await withLock(core.paths.volumesLock, 'shared', async () => {
    const isNew = findVolume(core.paths, name) === undefined;
    const anonymous = request.name === undefined;
    createVolume(core.paths, { name, labels, options, anonymous, created: timestamp() });
    if (isNew) await volumeEvent(core, name, 'create');
    return name;
  });
}

/** All volumes, by name, with who uses them. */
export async function volumes(core: Core): Promise<VolumeFacts[]> {
  const users = volumeUsers(core);
  return listVolumes(core.paths).map((volume) => ({
    ...volume,
    mountpoint: core.paths.volumeData(volume.name),
    users: users.get(volume.name) ?? [],
  }));
}

/** @throws TinyrunError `not_found` */
export async function volume(core: Core, name: string): Promise<VolumeFacts> {
  const found = findVolume(core.paths, name);
  if (found === undefined) throw new TinyrunError('not_found', `get ${name}: no such volume`);
  return {
    ...found,
    mountpoint: core.paths.volumeData(name),
    users: volumeUsers(core).get(name) ?? [],
  };
}

/** @throws TinyrunError `not_found`; `conflict` where a container, even a stopped one, has it */
export async function removeVolume(core: Core, name: string): Promise<void> {
  const left = await withLock(core.paths.volumesLock, 'exclusive', async () => {
    const { users } = await volume(core, name);
    if (users.length > 0) {
      throw new TinyrunError('conflict', `remove ${name}: volume is in use - [${users.join(', ')}]`, {
        hint: `Remove the container first: tinyrun rm ${users.map((id) => id.slice(0, 12)).join(' ')}`,
      });
    }
    return discardVolume(core.paths, name);
  });
  await volumeEvent(core, name, 'destroy');
  (await import('../native/syscalls.ts')).removeTree(left);
}

/** Removes a container's own volumes, which nobody else can have unless by `--volumes-from`: then they stay. */
export async function removeOwnVolumes(core: Core, names: readonly string[]): Promise<void> {
  for (const name of names) {
    try {
      await removeVolume(core, name);
    } catch (error) {
      if (!(error instanceof TinyrunError) || !['conflict', 'not_found'].includes(error.kind)) throw error;
    }
  }
}

/** `volume prune`. @param matches which of those that no container has */
export async function pruneVolumes(
  core: Core,
  matches: (volume: VolumeFacts) => boolean,
): Promise<{ deleted: string[]; reclaimed: number }> {
  const { removeTree } = await import('../native/syscalls.ts');
  await withLock(core.paths.volumesLock, 'exclusive', () => {
    for (const path of abandonedVolumes(core.paths)) removeTree(path);
  });
  const deleted: string[] = [];
  let reclaimed = 0;
  for (const one of await volumes(core)) {
    if (one.users.length > 0 || !matches(one)) continue;
    const size = await treeSize(one.mountpoint);
    try {
      await removeVolume(core, one.name);
    } catch (error) {
      // A container took it meanwhile, or another prune was faster.
      if (error instanceof TinyrunError && ['conflict', 'not_found'].includes(error.kind)) continue;
      throw error;
    }
    deleted.push(one.name);
    reclaimed += size;
  }
  return { deleted, reclaimed };
}

/** A container whose record is damaged can only be removed: it will not mount anything any more. */
function readable(core: Core, id: string): ContainerRecord | undefined {
  try {
    return readRecord(core.paths, id);
  } catch (error) {
    if (error instanceof TinyrunError && error.kind === 'internal') return undefined;
    throw error;
  }
}

function volumeUsers(core: Core): Map<string, string[]> {
  const users = new Map<string, string[]>();
  for (const id of containerIds(core.paths)) {
    const record = readable(core, id);
    if (record === undefined) continue;
    const names = containerMounts(record).flatMap((mount) =>
      mount.type === 'volume' ? (mount.name ?? []) : [],
    );
    for (const name of new Set(names)) users.set(name, [...(users.get(name) ?? []), id]);
  }
  return users;
}
