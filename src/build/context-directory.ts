import { createHash } from 'node:crypto';
import { closeSync, constants, fstatSync, lstatSync, openSync } from 'node:fs';
import { errorCode, TinyrunError } from '../errors.ts';
import type { Digest } from '../oci/digest.ts';
import type { BuildContext, ContextEntry, Selection, SelectOptions } from './context.ts';
import { selectSources } from './context-select.ts';
import { type ContextTree, entryAt, type TreeEntry, walkContext } from './context-tree.ts';
import type { IgnoreMatcher } from './ignore.ts';
import { hashDescriptor, openStatCache, type StatCache, sameStamp } from './stat-cache.ts';

export interface DirectoryContextInput {
  /** Absolute. */
  readonly directory: string;
  readonly ignore?: IgnoreMatcher;
  /** Where the digests of its files are kept between builds (paths.contextStats). */
  readonly statCacheFile?: string;
  readonly signal?: AbortSignal;
  /** What the context needs no more: its scratch directory. */
  readonly release?: () => void | Promise<void>;
}

/** A directory as a build context. Nothing is read before it is needed. */
export function directoryContext(input: DirectoryContextInput): BuildContext {
  return new DirectoryContext(input);
}

/** Records that are hashed at once. */
const BATCH = 500;
/** Hashing so many bytes, other work gets a turn. */
const TURN_BYTES = 16 * 1024 * 1024;

class DirectoryContext implements BuildContext {
  readonly directory: string;
  readonly #input: DirectoryContextInput;
  #tree?: Promise<ContextTree>;
  /** The tree when it is there: openFile is synchronous. */
  #walked?: ContextTree;
  #stats?: StatCache;
  readonly #digests = new Map<string, Digest>();
  readonly #unsettled = new Set<string>();

  constructor(input: DirectoryContextInput) {
    this.directory = input.directory;
    this.#input = input;
  }

  async entries(): Promise<readonly TreeEntry[]> {
    return (await this.#walk()).entries;
  }

  async entry(path: string): Promise<TreeEntry | undefined> {
    return entryAt(await this.#walk(), path);
  }

  async select(patterns: readonly string[], options: SelectOptions = {}): Promise<readonly Selection[]> {
    return selectSources(await this.#walk(), patterns, options, (path) => this.ignored(path));
  }

  async digest(patterns: readonly string[], options: SelectOptions = {}): Promise<Digest> {
    const selections = await this.select(patterns, options);
    await this.#hashFiles(
      selections.flatMap(({ matches }) => matches.flatMap(({ entry, below }) => [entry, ...below])),
    );
    const hash = createHash('sha256');
    for (const { pattern, matches } of selections) {
      hash.update(record('pattern', pattern));
      for (const { path, asNamed, entry, below } of matches) {
        hash.update(this.#record(entry, asNamed));
        const start = path === '' ? 0 : path.length + 1;
        for (let at = 0; at < below.length; at += BATCH)
          hash.update(
            below
              .slice(at, at + BATCH)
              .map((each) => this.#record(each, each.path.slice(start)))
              .join(''),
          );
      }
    }
    return `sha256:${hash.digest('hex')}` as Digest;
  }

  async fileDigest(path: string): Promise<Digest> {
    const entry = entryAt(await this.#walk(), path);
    if (entry?.type !== 'file')
      throw new TinyrunError('not_found', `${JSON.stringify(`/${path}`)}: not found`);
    await this.#hashFiles([entry]);
    return this.#known(entry.path);
  }

  openFile(path: string): number {
    const entry = this.#walked === undefined ? undefined : entryAt(this.#walked, path);
    if (entry?.type !== 'file')
      throw new TinyrunError('not_found', `${JSON.stringify(`/${path}`)}: not found`);
    return openUnchanged(this.directory, entry);
  }

  changed(): readonly string[] {
    const tree = this.#walked;
    return [...this.#digests.keys()].filter((path) => {
      const entry = tree === undefined ? undefined : entryAt(tree, path);
      if (entry === undefined || this.#unsettled.has(path)) return true;
      const stat = lstatSync(`${this.directory}/${path}`, { throwIfNoEntry: false });
      return stat === undefined || stat.dev !== entry.dev || !sameStamp(stat, entry);
    });
  }

  ignored(path: string): boolean {
    return this.#input.ignore?.ignored(path) === true;
  }

  async close(): Promise<void> {
    const tree = this.#walked;
    this.#stats?.save((path) => tree?.places.has(path) === true);
    await this.#input.release?.();
  }

  async #walk(): Promise<ContextTree> {
    const { ignore, signal } = this.#input;
    this.#tree ??= walkContext(this.directory, {
      ...(ignore === undefined ? {} : { ignore }),
      ...(signal === undefined ? {} : { signal }),
    });
    this.#walked ??= await this.#tree;
    return this.#walked;
  }

  /** Modes count, owners and times do not: COPY sets the former, and nothing depends on the latter. */
  #record(entry: ContextEntry, name: string): string {
    const { type, mode, target = '' } = entry;
    const content = type === 'file' ? this.#known(entry.path) : target;
    return record(type, name, type === 'symlink' ? '' : mode.toString(8), content);
  }

  #known(path: string): Digest {
    const digest = this.#digests.get(path);
    if (digest === undefined) throw new Error(`${path} was not hashed`);
    return digest;
  }

  /** A file that is written to all the time, such as a log, is taken as it is now; nothing relies on it later. */
  #hash(entry: TreeEntry, stats: StatCache): Digest {
    const readAt = Date.now();
    try {
      const digest = hashDescriptor(openUnchanged(this.directory, entry));
      stats.put(entry.path, entry, digest, readAt);
      return digest;
    } catch (error) {
      if (!(error instanceof TinyrunError) || error.kind !== 'conflict') throw error;
      this.#unsettled.add(entry.path);
      return hashDescriptor(openUnchanged(this.directory, entryNow(this.directory, entry)));
    }
  }

  /** Reads the files that the stat cache does not know. */
  async #hashFiles(entries: readonly ContextEntry[]): Promise<void> {
    const tree = await this.#walk();
    this.#stats ??= openStatCache(this.#input.statCacheFile);
    let unturned = 0;
    for (const { path, type } of entries) {
      const entry = type === 'file' && !this.#digests.has(path) ? entryAt(tree, path) : undefined;
      if (entry === undefined) continue;
      const known = this.#stats.find(path, entry);
      if (known !== undefined) {
        this.#digests.set(path, known);
        continue;
      }
      this.#digests.set(path, this.#hash(entry, this.#stats));
      unturned += entry.size + 4096;
      if (unturned < TURN_BYTES) continue;
      unturned = 0;
      await new Promise<void>((resolve) => setImmediate(resolve));
      this.#input.signal?.throwIfAborted();
    }
  }
}

/** Lengths before the texts: no name can be read as two fields. */
function record(...fields: readonly string[]): string {
  let text = '';
  for (const field of fields) text += `${field.length}:${field}`;
  return `${text}\n`;
}

/**
 * Opens the very file that the walk saw: no link at the end, and where a directory on the way was replaced in the meantime
 * the file is another, which its number tells.
 */
function openUnchanged(directory: string, entry: TreeEntry): number {
  const { O_RDONLY, O_NOFOLLOW, O_NONBLOCK } = constants;
  let fd: number;
  try {
    fd = openSync(`${directory}/${entry.path}`, O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
  } catch (error) {
    const code = errorCode(error);
    if (code === 'ENOENT' || code === 'ELOOP' || code === 'ENOTDIR') throw changed(entry.path);
    throw new TinyrunError(
      'denied',
      `Cannot read "${entry.path}" of the build context: ${code ?? String(error)}`,
      {
        cause: error,
      },
    );
  }
  const stat = fstatSync(fd);
  if (stat.dev === entry.dev && stat.isFile() && sameStamp(stat, entry)) return fd;
  closeSync(fd);
  throw changed(entry.path);
}

function entryNow(directory: string, entry: TreeEntry): TreeEntry {
  const stat = lstatSync(`${directory}/${entry.path}`, { throwIfNoEntry: false });
  if (stat?.isFile() !== true || stat.dev !== entry.dev) throw changed(entry.path);
  const { ino, size, mtimeMs, ctimeMs } = stat;
  return { ...entry, ino, size, mtimeMs, ctimeMs };
}

function changed(path: string): TinyrunError {
  return new TinyrunError(
    'conflict',
    `Cannot read "${path}" of the build context: it changed during the build`,
    {
      hint: 'Build again',
    },
  );
}
