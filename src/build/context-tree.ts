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
  await walk.directory(root, undefined, 0);
  const { entries } = walk;
  return { root, entries, places: new Map(entries.map(({ path }, index) => [path, index])) };
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

class Walk {
  readonly entries: TreeEntry[] = [];
  readonly #base: string;
  readonly #options: WalkOptions;
  #seen = 0;

  constructor(directory: string, options: WalkOptions) {
    this.#base = directory;
    this.#options = options;
  }

  async directory(parent: TreeEntry, state: IgnoreState | undefined, depth: number): Promise<void> {
    if (depth > DEPTH_MAX)
      throw new TinyrunError('invalid', `the context is deeper than ${DEPTH_MAX} directories`);
    const names = readdirSync(`${this.#base}/${parent.path}`).sort();
    for (const name of names) {
      await this.#turn();
      if (name.includes('\ufffd')) refuseName(parent.path, name);
      await this.#name(parent.path === '' ? name : `${parent.path}/${name}`, state, depth);
    }
  }

  async #name(path: string, parentState: IgnoreState | undefined, depth: number): Promise<void> {
    const { ignore } = this.#options;
    const step = ignore?.step(path, parentState);
    const ignored = step?.ignored === true;
    if (ignored && ignore?.mayTakeBack(path) !== true) return;
    const entry = entryOf(`${this.#base}/${path}`, path);
    if (entry === undefined || (ignored && entry.type !== 'directory')) return;
    const place = this.entries.length;
    this.entries.push(entry);
    if (entry.type === 'directory') await this.directory(entry, step?.state, depth + 1);
    // An ignored directory counts only for what was taken back below it.
    if (ignored && this.entries.length === place + 1) this.entries.pop();
    if (this.entries.length > ENTRIES_MAX)
      throw new TinyrunError('invalid', `the context has more than ${ENTRIES_MAX} files`);
  }

  async #turn(): Promise<void> {
    if (++this.#seen % TURN !== 0) return;
    await new Promise<void>((resolve) => setImmediate(resolve));
    this.#options.signal?.throwIfAborted();
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
  const { dev, ino, uid, gid, size, mtimeMs, ctimeMs } = stat;
  const common = { path, mode: stat.mode & 0o7777, uid, gid, size, mtimeMs, ctimeMs, dev, ino };
  if (stat.isSymbolicLink()) return { ...common, type: 'symlink', target: readlinkSync(file) };
  if (stat.isDirectory()) return { ...common, type: 'directory' };
  return { ...common, type: stat.isFile() ? 'file' : 'other' };
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
