import { randomBytes } from 'node:crypto';
import { normalize } from 'node:path';
import { withLock } from '../disk/lock.ts';
import type { Paths } from '../disk/paths.ts';
import { TinyrunError } from '../errors.ts';
import type { StoredImage } from '../image/stored-image.ts';
import type { Op } from '../native/plan.ts';
import { createVolume, discardVolume, findVolume, type Volume } from '../volumes/volumes.ts';
import { timestamp } from './clock.ts';
import { type ContainerRecord, containerMounts } from './containers.ts';
import type { Core } from './core.ts';
import { emitEvent } from './events.ts';
import type { CreateOptions, MountRequest, VolumeMount } from './options.ts';
import { findContainer } from './query.ts';
import { fillVolume } from './volume-content.ts';

/** A volume mount whose volume is there. */
type Named = VolumeMount & { readonly name: string };

/**
 * What a container with volumes mounts: the user's, those of `--volumes-from` and of the image, in this order of precedence.
 * Volumes that are not there yet are made, and filled with what the image has in their place.
 * @param use with the mounts; until it has ended no volume is removed. Where it fails, what was made for it alone is gone
 */
export async function withVolumes<T>(
  core: Core,
  from: { readonly options: CreateOptions; readonly image: StoredImage },
  use: (mounts: readonly MountRequest[]) => Promise<T>,
): Promise<T> {
  const { options, image } = from;
  const mounts = [...options.mounts];
  const taken = new Set(mounts.map(({ target }) => target));
  const add = (mount: MountRequest): void => {
    if (taken.has(mount.target)) return;
    taken.add(mount.target);
    mounts.push(mount);
  };
  for (const other of options.volumesFrom ?? []) {
    const { record } = await findContainer(core, other.container);
    for (const mount of containerMounts(record)) {
      if (mount.type !== 'tmpfs') add(other.readonly ? { ...mount, readonly: true } : mount);
    }
  }
  for (const target of imageVolumes(image)) {
    add({ type: 'volume', target, readonly: false, noCopy: false, options: [] });
  }
  return await withLock(core.paths.volumesLock, 'shared', async () => {
    const own: string[] = [];
    try {
      const named: MountRequest[] = [];
      for (const mount of mounts) {
        if (mount.type !== 'volume') {
          named.push(mount);
          continue;
        }
        const present = await presentVolume(core, mount);
        if (present.anonymous === true && mount.name === undefined) own.push(present.name);
        if (!mount.noCopy) await fillVolume(core, present, image);
        named.push(present);
      }
      return await use(named);
    } catch (error) {
      const { removeTree } = await import('../native/syscalls.ts');
      for (const name of own) removeTree(discardVolume(core.paths, name));
      throw error;
    }
  });
}

/** The `VOLUME`s of an image: paths from outside, so cleaned; one that is the root or in /proc is left out. */
function imageVolumes({ config }: StoredImage): string[] {
  return Object.keys(config.config.Volumes ?? {})
    .map((path) => normalize(`/${path}`).replace(/(.)\/+$/, '$1'))
    .filter((path) => path !== '/' && path !== '/proc' && !path.startsWith('/proc/'))
    .sort();
}

async function presentVolume(core: Core, mount: VolumeMount): Promise<Named> {
  const anonymous = mount.name === undefined;
  const name = mount.name ?? randomBytes(32).toString('hex');
  if (findVolume(core.paths, name) === undefined) {
    createVolume(core.paths, {
      name,
      labels: mount.labels ?? {},
      options: mount.driverOptions ?? {},
      anonymous,
      created: timestamp(),
    });
    await volumeEvent(core, name, 'create');
  }
  return { ...mount, name, ...(anonymous ? { anonymous: true } : {}) };
}

/** Notes that something was done to a volume. */
export function volumeEvent(core: Core, name: string, action: string): Promise<void> {
  return emitEvent(core, { type: 'volume', id: name, attributes: { driver: 'local' } }, action);
}

/**
 * The container's mounts with each volume as the directory that it is.
 * @throws TinyrunError `not_found` for a volume that was removed by other means
 */
export function mountedOptions(paths: Paths, record: ContainerRecord): CreateOptions {
  const mounts = containerMounts(record).map((mount) =>
    mount.type === 'volume' ? mountOfVolume(paths, mount) : mount,
  );
  return { ...record.options, mounts };
}

function mountOfVolume(paths: Paths, mount: VolumeMount): MountRequest {
  const { name = '', target, readonly, options } = mount;
  const volume = findVolume(paths, name);
  if (volume === undefined) throw new TinyrunError('not_found', `get ${name}: no such volume`);
  if (volume.options.type === 'tmpfs') {
    const given = (volume.options.o ?? '').split(',').filter(Boolean);
    return { type: 'tmpfs', target, options: [...given, ...(readonly ? ['ro'] : [])] };
  }
  return {
    type: 'bind',
    source: sourceOf(paths, volume),
    target,
    readonly: readonly || hasOption(volume, 'ro'),
    recursive: true,
    createSource: false,
    options,
  };
}

function sourceOf(paths: Paths, { name, options }: Volume): string {
  return options.device === undefined || options.device === '' ? paths.volumeData(name) : options.device;
}

function hasOption({ options }: Volume, word: string): boolean {
  return (options.o ?? '').split(',').includes(word);
}

/** Names of the volumes that are a container's alone. */
export function ownVolumes(record: ContainerRecord): string[] {
  return containerMounts(record).flatMap((mount) =>
    mount.type === 'volume' && mount.anonymous === true && mount.name !== undefined ? [mount.name] : [],
  );
}

/** Removal of a container's own volumes as ops of its launch plan, for `--rm`. */
export function discardVolumeOps(paths: Paths, record: ContainerRecord): { release: Op[]; cleanup: Op[] } {
  const volumes = ownVolumes(record).map((name) => ({
    name,
    from: paths.volume(name),
    to: `${paths.trash}/volume-${name}`,
  }));
  return {
    release: volumes.map(({ name, from, to }) => ({
      op: 'rename',
      from,
      to,
      what: `remove the volume "${name}"`,
      optional: true,
    })),
    cleanup: volumes.map(({ name, to }) => ({
      op: 'removeTree',
      path: to,
      what: `remove the files of the volume "${name}"`,
      optional: true,
    })),
  };
}
