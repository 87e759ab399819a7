import { lstatSync, readdirSync, readlinkSync } from 'node:fs';
import { errorCode, TinyrunError } from '../errors.ts';
import type { ContextEntry } from './context.ts';
import type { IgnoreMatcher, IgnoreState } from './ignore.ts';
import type { FileStamp } from './stat-cache.ts';

export interface TreeEntry extends ContextEntry, FileStamp {
  readonly dev: number;
}

/** What a walk found: all names, directories before what is in them, names of a directory sorted by their UTF-16 units. */
export interface ContextTree {
  readonly root: TreeEntry;
  readonly entries: readonly TreeEntry[];
  /** Place in `entries`. */
  readonly places: ReadonlyMap<string, number>;
}

export interface WalkOptions {
  readonly ignore?: IgnoreMatcher;
  /** `.git` at the top is left out (git contexts). */
  readonly signal?: AbortSignal;
}

/** More names than any context has; a walk into /proc or / ends here. */
const ENTRIES_MAX = 2_000_000;
const DEPTH_MAX = 1000;
/** After so many names other work gets a turn. */
const TURN = 2000;

/**
 * Reads a directory tree by lstat and readdir alone: no link is followed, so nothing outside is reached. What is ignored is
 * not entered unless an exception may lie below; then the directories above it are part of the tree, too.
 */
export async function walkContext(directory: string, options: WalkOptions = {}): Promise<ContextTree> {
  const root = rootEntry(directory);
  const walk = new Walk(directory, options);
  walk.enter(root, undefined);
  // Without a promise per name: those would cost more than the names.
  while (walk.step(TURN)) {
    await new Promise<void>((resolve) => setImmediate(resolve));
    options.signal?.throwIfAborted();
  }
  const { entries } = walk;
  const places = new Map<string, number>();
  for (const [place, { path }] of entries.entries()) places.set(path, place);
  return { root, entries, places };
}

function rootEntry(directory: string): TreeEntry {
  try {
    const entry = entryOf(directory, '');
    if (entry?.type === 'directory') return entry;
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error;
  }
  throw new TinyrunError(
    'not_found',
    `unable to prepare context: path ${JSON.stringify(directory)} not found`,
  );
}

/** A directory that is being read. */
interface Level {
  readonly path: string;
  readonly names: readonly string[];
  next: number;
  readonly state: IgnoreState | undefined;
  /** Its place in the entries where it counts only for what was taken back below it. */
  readonly ignoredAt: number | undefined;
}

class Walk {
  readonly entries: TreeEntry[] = [];
  readonly #base: string;
  readonly #ignore: IgnoreMatcher | undefined;
  readonly #levels: Level[] = [];

  constructor(directory: string, options: WalkOptions) {
    this.#base = directory;
    this.#ignore = options.ignore;
  }

  enter({ path }: TreeEntry, state: IgnoreState | undefined, ignoredAt?: number): void {
    if (this.#levels.length > DEPTH_MAX)
      throw new TinyrunError('invalid', `the context is deeper than ${DEPTH_MAX} directories`);
    const names = readdirSync(`${this.#base}/${path}`).sort();
    this.#levels.push({ path, names, next: 0, state, ignoredAt });
  }

  /** Goes on for so many names. @returns false at the end */
  step(count: number): boolean {
    for (let done = 0; done < count; done++) {
      const level = this.#levels.at(-1);
      if (level === undefined) return false;
      const name = level.names[level.next++];
      if (name === undefined) this.#leave(level);
      else this.#name(level, name);
    }
    return true;
  }

  #leave({ ignoredAt }: Level): void {
    this.#levels.pop();
    if (ignoredAt !== undefined && this.entries.length === ignoredAt + 1) this.entries.pop();
  }

  #name(level: Level, name: string): void {
    if (name.includes('\ufffd')) refuseName(level.path, name);
    const path = level.path === '' ? name : `${level.path}/${name}`;
    const step = this.#ignore?.step(path, level.state);
    const ignored = step?.ignored === true;
    if (ignored && this.#ignore?.mayTakeBack(path) !== true) return;
    const entry = entryOf(`${this.#base}/${path}`, path);
    if (entry === undefined || (ignored && entry.type !== 'directory')) return;
    const place = this.entries.push(entry) - 1;
    if (place > ENTRIES_MAX)
      throw new TinyrunError('invalid', `the context has more than ${ENTRIES_MAX} files`);
    if (entry.type === 'directory') this.enter(entry, step?.state, ignored ? place : undefined);
  }
}

function refuseName(directory: string, name: string): never {
  throw new TinyrunError(
    'invalid',
    `Cannot read ${JSON.stringify(`${directory}/${name}`)} of the context: its name is not UTF-8`,
    { hint: 'Rename the file, or ignore it by its directory in .dockerignore' },
  );
}

/** undefined for what has gone in the meantime, and for sockets, which no image can hold. */
function entryOf(file: string, path: string): TreeEntry | undefined {
  const stat = lstatSync(file, { throwIfNoEntry: false });
  if (stat === undefined || stat.isSocket()) return undefined;
  const type = stat.isFile()
    ? 'file'
    : stat.isDirectory()
      ? 'directory'
      : stat.isSymbolicLink()
        ? 'symlink'
        : 'other';
  return {
    path,
    type,
    mode: stat.mode & 0o7777,
    uid: stat.uid,
    gid: stat.gid,
    size: stat.size,
    mtimeMs: stat.mtimeMs,
    ctimeMs: stat.ctimeMs,
    dev: stat.dev,
    ino: stat.ino,
    ...(type === 'symlink' ? { target: readlinkSync(file) } : undefined),
  };
}

/** All below a directory; the whole tree for the root. */
export function entriesBelow(tree: ContextTree, path: string): readonly TreeEntry[] {
  if (path === '') return tree.entries;
  const start = tree.places.get(path);
  if (start === undefined) return [];
  let end = start + 1;
  while (tree.entries[end]?.path.startsWith(`${path}/`) === true) end++;
  return tree.entries.slice(start + 1, end);
}

export function entryAt(tree: ContextTree, path: string): TreeEntry | undefined {
  if (path === '') return tree.root;
  const place = tree.places.get(path);
  return place === undefined ? undefined : tree.entries[place];
}

const LINKS_MAX = 255;

/**
 * Follows the links of a path within the tree, the last part's, too: an absolute target and `..` begin and end at the tree's
 * root. It is the tree that is asked, not the file system, so nothing outside can be named.
 * @returns the path without links; undefined where there is nothing
 */
export function resolveInTree(tree: ContextTree, path: string): string | undefined {
  let pending = path.split('/');
  let links = 0;
  let current = '';
  for (let part = pending.shift(); part !== undefined; part = pending.shift()) {
    if (part === '' || part === '.') continue;
    if (part === '..') {
      current = current.includes('/') ? current.slice(0, current.lastIndexOf('/')) : '';
      continue;
    }
    const next = current === '' ? part : `${current}/${part}`;
    const entry = entryAt(tree, next);
    if (entry === undefined) return undefined;
    if (entry.target === undefined) {
      current = next;
      continue;
    }
    if (++links > LINKS_MAX) return undefined;
    if (entry.target.startsWith('/')) current = '';
    pending = [...entry.target.split('/'), ...pending];
  }
  return current;
}
