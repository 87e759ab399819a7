import { existsSync, type FSWatcher, statSync, watch } from 'node:fs';
import { basename, dirname } from 'node:path';
import { makePrivateDirectory } from '../disk/atomic.ts';
import { GrowingLines } from '../disk/growing-lines.ts';
import { OLD_JOURNALS } from '../disk/journal.ts';
import type { Paths } from '../disk/paths.ts';
import type { Core } from './core.ts';
import type { Attributes } from './events.ts';

/** Something that happened, by whichever process. */
export interface EngineEvent {
  readonly type: string;
  /** `start`, `exec_create: ls -l`, `health_status: healthy`. */
  readonly action: string;
  readonly id: string;
  readonly attributes: Attributes;
  /** Since 1970. */
  readonly nanoseconds: bigint;
}

export interface EventsHow {
  /** Milliseconds since 1970; default: from now on. */
  readonly since?: number;
  /** Milliseconds since 1970; default: for ever. */
  readonly until?: number;
  readonly matches?: (event: EngineEvent) => boolean;
  readonly signal?: AbortSignal;
}

/** What happens and, with `since`, what has happened; ends at `until` or with `signal`. */
export async function* readEvents(core: Core, how: EventsHow = {}): AsyncGenerator<EngineEvent> {
  const { paths } = core;
  makePrivateDirectory(dirname(paths.events));
  const current = new GrowingLines(paths.events);
  // Both before the first look: nothing that comes in between is lost.
  const bell = new Bell(paths, how);
  try {
    if (how.since === undefined) current.skipToLast(0);
    else current.open();
    for (const file of how.since === undefined ? [] : olderFiles(paths, how.since)) {
      yield* eventsOf(file.rest(), how);
      file.close();
    }
    for (;;) {
      // Asked first: what happened just before the end has been written by then.
      const { over } = bell;
      yield* eventsOf(current.read(), how);
      if (over) return;
      await bell.rung();
    }
  } finally {
    bell.close();
    current.close();
  }
}

function* eventsOf(batches: Iterable<readonly string[]>, how: EventsHow): Generator<EngineEvent> {
  const since = how.since === undefined ? 0n : nanosecondsOf(how.since);
  const until = how.until === undefined ? undefined : nanosecondsOf(how.until);
  for (const line of flatten(batches)) {
    const event = parseEvent(line);
    if (event === undefined || event.nanoseconds < since) continue;
    if (until !== undefined && event.nanoseconds > until) continue;
    if (how.matches?.(event) ?? true) yield event;
  }
}

/** Tells that the journal has changed. inotify sees the writes of all processes, and no clock has to tick. */
class Bell {
  readonly #watcher: FSWatcher;
  readonly #signal: AbortSignal | undefined;
  readonly #timer: NodeJS.Timeout | undefined;
  #changed = false;
  #wake: () => void = () => {};
  over = false;

  constructor(paths: Paths, { until, signal }: EventsHow) {
    this.#watcher = watch(dirname(paths.events), (_, name) => {
      if (name !== basename(paths.events)) return;
      this.#changed = true;
      this.#wake();
    });
    this.#signal = signal;
    signal?.addEventListener('abort', this.#end);
    if (signal?.aborted === true) this.over = true;
    if (until === undefined) return;
    const left = until - Date.now();
    if (left <= 0) this.over = true;
    // Longer than a timer can be set for is for ever.
    else if (left < 2 ** 31) this.#timer = setTimeout(this.#end, left);
  }

  /** Waits until something has been written, or for the end. */
  async rung(): Promise<void> {
    if (!this.#changed && !this.over) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    this.#changed = false;
  }

  close(): void {
    this.#watcher.close();
    clearTimeout(this.#timer);
    this.#signal?.removeEventListener('abort', this.#end);
  }

  readonly #end = (): void => {
    this.over = true;
    this.#wake();
  };
}

/** Those that may hold something as young as `since`, oldest first. */
function olderFiles(paths: Paths, since: number): GrowingLines[] {
  const files: GrowingLines[] = [];
  for (let number = 1; number <= OLD_JOURNALS; number += 1) {
    const path = paths.oldEvents(number);
    if (!existsSync(path) || statSync(path).mtimeMs < since) break;
    const file = new GrowingLines(path);
    if (file.open()) files.unshift(file);
  }
  return files;
}

/** One line of the journal; undefined for a damaged one. */
export function parseEvent(line: string): EngineEvent | undefined {
  const nanoseconds = /^\{"time":[0-9]+,"timeNano":([0-9]{1,19}),/.exec(line)?.[1];
  if (nanoseconds === undefined) return undefined;
  let value: Journaled;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  const { Type: type, Action: action, Actor: actor } = value;
  if (typeof type !== 'string' || typeof action !== 'string' || typeof actor?.ID !== 'string')
    return undefined;
  return {
    type,
    action,
    id: actor.ID,
    attributes: actor.Attributes ?? {},
    nanoseconds: BigInt(nanoseconds),
  };
}

interface Journaled {
  readonly Type?: unknown;
  readonly Action?: unknown;
  readonly Actor?: { readonly ID?: unknown; readonly Attributes?: Attributes };
}

function nanosecondsOf(milliseconds: number): bigint {
  return BigInt(Math.round(milliseconds * 1000)) * 1000n;
}

function* flatten<T>(batches: Iterable<readonly T[]>): Generator<T> {
  for (const batch of batches) yield* batch;
}
