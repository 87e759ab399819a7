import { existsSync, rmSync, truncateSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { GrowingLines } from '../disk/growing-lines.ts';
import { TinyrunError } from '../errors.ts';
import type { Container } from './containers.ts';
import type { Core } from './core.ts';
import { findContainer } from './query.ts';

export interface LogEntry {
  readonly stream: 'stdout' | 'stderr';
  /** Usually one line with its newline; a very long line comes in pieces. */
  readonly text: string;
  /** RFC 3339 with nanoseconds. */
  readonly time: string;
  /** What the log was told to note with each line. */
  readonly attributes?: Readonly<Record<string, string>>;
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

/**
 * A container's log, oldest entry first, over all its rotated files; with `follow` until the container has ended.
 * @throws TinyrunError `not_found`; `unsupported` for a container without a log, in Docker's words
 */
export async function* readLogs(core: Core, text: string, how: LogsHow = {}): AsyncGenerator<LogEntry> {
  const container = await findContainer(core, text);
  const path = logPath(core, container);
  const current = new GrowingLines(path);
  try {
    for (const file of filesOf(path, current, how.tail)) {
      yield* entriesOf(file === current ? file.read() : file.rest(), how);
      if (file !== current) file.close();
    }
    if (how.follow !== true || !isLive(container.status)) return;
    const lockIsHeld = await core.lockIsHeld();
    for (;;) {
      if (how.signal?.aborted === true) return;
      // Asked before reading: what was written before the end is read after it.
      const over = !lockIsHeld(core.paths.lock(container.id)) || !existsSync(path);
      let any = false;
      for (const entry of entriesOf(current.read(), how)) {
        any = true;
        yield entry;
      }
      if (how.until !== undefined && Date.now() > how.until) return;
      if (any) continue;
      if (over) return;
      await sleep(POLL_MS, undefined, how.signal === undefined ? {} : { signal: how.signal }).catch(() => {});
    }
  } finally {
    current.close();
  }
}

/** Empties a container's log; whoever follows it sees what comes from now on. @throws as {@link readLogs} */
export async function clearLogs(core: Core, text: string): Promise<void> {
  const path = logPath(core, await findContainer(core, text));
  // In place: the monitor has it open, to append to.
  if (existsSync(path)) truncateSync(path);
  for (let number = 1; existsSync(`${path}.${number}`); number += 1) rmSync(`${path}.${number}`);
}

function logPath(core: Core, { id, record }: Container): string {
  const { logDriver } = record.options;
  if (logDriver === 'json-file') return core.paths.log(id);
  if (logDriver === 'local') return core.paths.localLog(id);
  if (logDriver === 'journald') {
    throw new TinyrunError('unsupported', 'configured logging driver does not support reading', {
      hint: `Ask journald: journalctl CONTAINER_ID_FULL=${id}`,
    });
  }
  throw new TinyrunError('unsupported', 'configured logging driver does not support reading');
}

function isLive(status: Container['status']): boolean {
  return status === 'running' || status === 'restarting';
}

/** The files of a log, oldest first and each where the reading begins. The newest is opened first: it may be rotated meanwhile. */
function filesOf(path: string, current: GrowingLines, tail: number | undefined): GrowingLines[] {
  const files = [current];
  current.open();
  let count = tail === undefined ? 0 : current.skipToLast(tail);
  for (let number = 1; tail === undefined || count < tail; number += 1) {
    const rotated = new GrowingLines(`${path}.${number}`);
    if (!rotated.open()) break;
    if (tail !== undefined) count += rotated.skipToLast(tail - count);
    files.unshift(rotated);
  }
  return files;
}

function* entriesOf(batches: Iterable<readonly string[]>, how: LogsHow): Generator<LogEntry> {
  for (const lines of batches) {
    for (const line of lines) {
      const entry = line.startsWith('{') ? parseLine(line) : parseLocal(line);
      if (entry !== undefined && within(entry, how)) yield entry;
    }
  }
}

function within(entry: LogEntry, how: LogsHow): boolean {
  if (how.since === undefined && how.until === undefined) return true;
  const time = Date.parse(entry.time);
  return time >= (how.since ?? Number.NEGATIVE_INFINITY) && time <= (how.until ?? Number.POSITIVE_INFINITY);
}

/** One line of the driver `local`, see native/log.c; undefined for a damaged one. A capital letter: the text goes on in the next. */
function parseLocal(line: string): LogEntry | undefined {
  const match = /^([0-9]{10,12})([0-9]{9}) ([oeOE]) (.*)$/s.exec(line);
  if (match === null) return undefined;
  const [, seconds = '', nanoseconds = '', letter = '', text = ''] = match;
  const time = `${new Date(Number(seconds) * 1000).toISOString().slice(0, 19)}.${nanoseconds}Z`;
  const whole = letter === 'o' || letter === 'e';
  return {
    text: whole ? `${text}\n` : text,
    stream: letter === 'e' || letter === 'E' ? 'stderr' : 'stdout',
    time,
  };
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
  const { log, stream, time, attrs } = value as Record<string, unknown>;
  if (typeof log !== 'string' || typeof time !== 'string') return undefined;
  return {
    text: log,
    stream: stream === 'stderr' ? 'stderr' : 'stdout',
    time,
    ...(typeof attrs === 'object' && attrs !== null ? { attributes: attrs as Record<string, string> } : {}),
  };
}
