import { closeSync, constants, type Dirent, lstatSync, openSync, readdirSync } from 'node:fs';
import { readJson } from '../disk/atomic.ts';
import { errorCode, TinyrunError } from '../errors.ts';
import type { Spec } from '../oci/runtime-spec.ts';
import type { Core } from './core.ts';
import { findContainer } from './query.ts';

export interface Change {
  /** Added, changed, deleted. */
  readonly kind: 'A' | 'C' | 'D';
  readonly path: string;
}

/** Three views of one tree, as open directories: what the container wrote, its image, and both together. */
export interface Views {
  readonly upper: number;
  readonly lower: number;
  readonly merged: number;
}

/**
 * What a container has changed of its image's files, by path. What lies where something is mounted in it is not counted:
 * those files and directories are only there to be mounted on.
 * @throws TinyrunError `not_found`
 */
export async function containerChanges(core: Core, text: string): Promise<Change[]> {
  const { id, record, name } = await findContainer(core, text);
  const store = await core.store();
  const image = store.resolve(record.image.id);
  if (image === undefined) {
    throw new TinyrunError('not_found', `Cannot compare container "${name}": its image is gone`);
  }
  const spec = readJson(core.paths.config(id), (value) => value as Spec);
  const mounted = new Set((spec?.mounts ?? []).map(({ destination }) => destination));
  const { closeFd, openDirectory, openRoot } = await import('../native/syscalls.ts');
  const layers = store.lowerDirs(image);
  const fds: number[] = [];
  const hold = (fd: number): number => {
    fds.push(fd);
    return fd;
  };
  try {
    const views = {
      upper: hold(openDirectory(core.paths.upper(id))),
      lower: hold(openRoot(layers)),
      merged: hold(openRoot([core.paths.upper(id), ...layers])),
    };
    return changesIn(views, mounted);
  } finally {
    for (const fd of fds) closeFd(fd);
  }
}

/** @param mounted absolute paths that are left out with all below them */
export function changesIn(views: Views, mounted: ReadonlySet<string>): Change[] {
  const found: Change[] = [];
  compare(views, '', { mounted, found });
  return found.sort((a, b) => (a.path < b.path ? -1 : 1));
}

interface Walk {
  readonly mounted: ReadonlySet<string>;
  readonly found: Change[];
}

interface Level {
  readonly upper: number;
  /** Absent: the image has no such directory. */
  readonly lower?: number;
  readonly merged: number;
}

/** @returns whether all that is in `upper` are places to mount on */
function compare(level: Level, prefix: string, walk: Walk): boolean {
  const entries = list(level.upper);
  const seen = new Set<string>();
  let onlyMounts = entries.length > 0;
  for (const entry of entries) {
    const path = `${prefix}/${entry.name}`;
    seen.add(entry.name);
    if (walk.mounted.has(path)) continue;
    onlyMounts = compareEntry(level, entry, { ...walk, path }) && onlyMounts;
  }
  if (level.lower === undefined) return onlyMounts;
  // A directory that was removed and made anew hides the image's without a whiteout for each.
  const left = new Set(list(level.merged).map(({ name }) => name));
  for (const { name } of list(level.lower)) {
    if (seen.has(name) || left.has(name)) continue;
    walk.found.push({ kind: 'D', path: `${prefix}/${name}` });
    onlyMounts = false;
  }
  return onlyMounts;
}

function compareEntry(level: Level, entry: Dirent, walk: Walk & { readonly path: string }): boolean {
  const { path, found } = walk;
  const before = level.lower === undefined ? undefined : typeIn(level.lower, entry.name);
  if (isWhiteout(level.upper, entry)) {
    if (before !== undefined) found.push({ kind: 'D', path });
    return before === undefined;
  }
  const kind = before === undefined ? 'A' : 'C';
  if (!entry.isDirectory()) {
    found.push({ kind, path });
    return false;
  }
  const below = { mounted: walk.mounted, found };
  const onlyMounts = within(level, entry.name, before === 'directory', (next) => compare(next, path, below));
  if (onlyMounts) return true;
  found.push({ kind, path });
  return false;
}

/** One component at a time and never through a link: a container that runs may replace a directory by one meanwhile. */
function within(level: Level, name: string, inLower: boolean, action: (next: Level) => boolean): boolean {
  const fds: number[] = [];
  const open = (parent: number): number | undefined => {
    const fd = unlessGone(() => openSync(at(parent, name), constants.O_DIRECTORY | constants.O_NOFOLLOW));
    if (fd !== undefined) fds.push(fd);
    return fd;
  };
  try {
    const [upper, merged] = [open(level.upper), open(level.merged)];
    if (upper === undefined || merged === undefined) return false;
    const lower = inLower && level.lower !== undefined ? open(level.lower) : undefined;
    return action({ upper, merged, ...(lower === undefined ? {} : { lower }) });
  } finally {
    for (const fd of fds) closeSync(fd);
  }
}

function at(directory: number, name: string): string {
  return `/proc/self/fd/${directory}/${name}`;
}

function list(directory: number): Dirent[] {
  return unlessGone(() => readdirSync(`/proc/self/fd/${directory}`, { withFileTypes: true })) ?? [];
}

function typeIn(directory: number, name: string): 'directory' | 'other' | undefined {
  const stat = unlessGone(() => lstatSync(at(directory, name)));
  if (stat === undefined) return undefined;
  return stat.isDirectory() ? 'directory' : 'other';
}

/** A character device 0:0. @see https://docs.kernel.org/filesystems/overlayfs.html#whiteouts-and-opaque-directories */
function isWhiteout(directory: number, entry: Dirent): boolean {
  return entry.isCharacterDevice() && unlessGone(() => lstatSync(at(directory, entry.name)))?.rdev === 0;
}

function unlessGone<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'ELOOP', 'ESTALE'].includes(errorCode(error) ?? '')) return undefined;
    throw error;
  }
}
