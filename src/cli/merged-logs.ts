import { setImmediate as turn } from 'node:timers/promises';
import type { LogEntry } from '../engine/index.ts';

export interface Merged {
  /** Index of the source. */
  readonly from: number;
  readonly entry: LogEntry;
}

/** Several logs as one, the oldest entry first; of logs that are followed, each entry as soon as it is there. */
export async function* mergedByTime(sources: readonly AsyncGenerator<LogEntry>[]): AsyncGenerator<Merged> {
  const [only] = sources;
  if (only !== undefined && sources.length === 1) {
    for await (const entry of only) yield { from: 0, entry };
    return;
  }
  const ready = new Map<number, LogEntry>();
  const waiting = new Map<number, Promise<void>>();
  const ask = (from: number): void => {
    const asked = sources[from]?.next().then(({ done, value }) => {
      waiting.delete(from);
      if (done !== true) ready.set(from, value);
    });
    if (asked !== undefined) waiting.set(from, asked);
  };
  for (const from of sources.keys()) ask(from);
  try {
    while (ready.size > 0 || waiting.size > 0) {
      if (ready.size === 0) await Promise.race(waiting.values());
      // What has been written already is there in the same turn: only who has nothing to say is not waited for.
      if (waiting.size > 0) await turn();
      const next = oldest(ready);
      if (next === undefined) continue;
      ready.delete(next.from);
      yield next;
      ask(next.from);
    }
  } finally {
    // One that waits for output that may never come is not waited for either.
    for (const [from, source] of sources.entries()) if (!waiting.has(from)) await source.return(undefined);
  }
}

function oldest(ready: ReadonlyMap<number, LogEntry>): Merged | undefined {
  let found: Merged | undefined;
  for (const [from, entry] of ready) {
    if (found === undefined || entry.time < found.entry.time) found = { from, entry };
  }
  return found;
}
