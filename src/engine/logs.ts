import { closeSync, existsSync, fstatSync, openSync, readSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { TinyrunError } from '../errors.ts';
import type { Core } from './core.ts';
import { findContainer } from './query.ts';

export interface LogEntry {
  readonly stream: 'stdout' | 'stderr';
  /** Usually one line with its newline; a very long line comes in pieces. */
  readonly text: string;
  /** RFC 3339 with nanoseconds. */
  readonly time: string;
}

export interface LogsHow {
  readonly follow?: boolean;
  /** The last so many entries only. */
  readonly tail?: number;
  /** Milliseconds since 1970. */
  readonly since?: number;
  readonly until?: number;
  readonly signal?: AbortSignal;
}

/** How often a followed log is looked at: fs.watch does not see every write on every file system. */
const POLL_MS = 100;
const CHUNK = 64 * 1024;

/**
 * A container's log, oldest entry first, over all its rotated files; with `follow` until the container has ended.
 * @throws TinyrunError `not_found`; `unsupported` for a container without a log, in Docker's words
 */
export async function* readLogs(core: Core, text: string, how: LogsHow = {}): AsyncGenerator<LogEntry> {
  const container = await findContainer(core, text);
  if (container.record.options.logDriver === 'none') {
    throw new TinyrunError('unsupported', 'configured logging driver does not support reading');
  }
  const path = core.paths.log(container.id);
  const wanted = (entry: LogEntry): boolean => within(entry, how);
  const current = new Follower(path);
  try {
    yield* oldEntries(path, current, how).filter(wanted);
    if (how.follow !== true || container.status !== 'running') return;
    const lockIsHeld = await core.lockIsHeld();
    for (;;) {
      if (how.signal?.aborted === true) return;
      // Asked before reading: what was written before the end is read after it.
      const over = !lockIsHeld(core.paths.lock(container.id)) || !existsSync(path);
      const entries = current.read().filter(wanted);
      yield* entries;
      if (how.until !== undefined && Date.now() > how.until) return;
      if (entries.length > 0) continue;
      if (over) return;
      await sleep(POLL_MS);
    }
  } finally {
    current.close();
  }
}

/** What is there already; `current` is left at its end. */
function oldEntries(path: string, current: Follower, how: LogsHow): LogEntry[] {
  if (how.tail === 0) {
    current.skip();
    return [];
  }
  const newest = current.read();
  const older: LogEntry[][] = [newest];
  let count = newest.length;
  for (let number = 1; how.tail === undefined || count < how.tail; number += 1) {
    const rotated = new Follower(`${path}.${number}`);
    const entries = rotated.read();
    rotated.close();
    if (entries.length === 0) break;
    older.unshift(entries);
    count += entries.length;
  }
  const all = older.flat();
  return how.tail === undefined ? all : all.slice(-how.tail);
}

function within(entry: LogEntry, how: LogsHow): boolean {
  if (how.since === undefined && how.until === undefined) return true;
  const time = Date.parse(entry.time);
  return time >= (how.since ?? Number.NEGATIVE_INFINITY) && time <= (how.until ?? Number.POSITIVE_INFINITY);
}

/** Reads what is appended to a log, also when it is rotated in between. */
class Follower {
  readonly #path: string;
  #fd: number | undefined;
  #offset = 0;
  #rest: Buffer = Buffer.alloc(0);

  constructor(path: string) {
    this.#path = path;
  }

  /** The entries that were completed since the last call. */
  read(): LogEntry[] {
    const entries = this.#drain();
    if (this.#rotated()) {
      // The old file got its last line before it was renamed.
      entries.push(...this.#drain());
      this.close();
      entries.push(...this.#drain());
    }
    return entries;
  }

  /** Goes to the end. */
  skip(): void {
    if (this.#open()) this.#offset = fstatSync(this.#fd ?? -1).size;
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
    this.#offset = 0;
    this.#rest = Buffer.alloc(0);
  }

  #open(): boolean {
    if (this.#fd !== undefined) return true;
    if (!existsSync(this.#path)) return false;
    this.#fd = openSync(this.#path, 'r');
    return true;
  }

  #rotated(): boolean {
    if (this.#fd === undefined) return false;
    const now = statSync(this.#path, { throwIfNoEntry: false });
    return now !== undefined && now.ino !== fstatSync(this.#fd).ino;
  }

  #drain(): LogEntry[] {
    const entries: LogEntry[] = [];
    if (!this.#open() || this.#fd === undefined) return entries;
    for (;;) {
      const chunk = Buffer.allocUnsafe(CHUNK);
      const length = readSync(this.#fd, chunk, 0, CHUNK, this.#offset);
      if (length === 0) return entries;
      this.#offset += length;
      const bytes = Buffer.concat([this.#rest, chunk.subarray(0, length)]);
      const end = bytes.lastIndexOf(10) + 1;
      this.#rest = bytes.subarray(end);
      for (const line of bytes.toString('utf8', 0, end).split('\n')) {
        const entry = line === '' ? undefined : parseLine(line);
        if (entry !== undefined) entries.push(entry);
      }
    }
  }
}

/** One line of Docker's json-file format; undefined for a damaged one. */
function parseLine(line: string): LogEntry | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null) return undefined;
  const { log, stream, time } = value as { log?: unknown; stream?: unknown; time?: unknown };
  if (typeof log !== 'string' || typeof time !== 'string') return undefined;
  return { text: log, stream: stream === 'stderr' ? 'stderr' : 'stdout', time };
}
