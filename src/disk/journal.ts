import { closeSync, fstatSync, openSync, renameSync, statSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { errorCode } from '../errors.ts';
import { makePrivateDirectory } from './atomic.ts';
import type { Paths } from './paths.ts';

/** How large the journal of events grows before it is set aside. */
const JOURNAL_BYTES = 8 * 1024 * 1024;
/** How many that were set aside are kept. */
export const OLD_JOURNALS = 2;

/**
 * Appends to the journal of events, in one write: the lines of processes that write at the same time never mix.
 * @param text whole lines
 */
export async function appendEvents(paths: Paths, text: string): Promise<void> {
  const fd = openJournal(paths.events);
  let size: number;
  try {
    writeSync(fd, text);
    size = fstatSync(fd).size;
  } finally {
    closeSync(fd);
  }
  if (size > JOURNAL_BYTES) await rotate(paths);
}

function openJournal(path: string): number {
  try {
    return openSync(path, 'a', 0o600);
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error;
    makePrivateDirectory(dirname(path));
    return openSync(path, 'a', 0o600);
  }
}

/** Looks again under the lock: several find the journal too large at once, and only one may set it aside. */
async function rotate(paths: Paths): Promise<void> {
  const { withLock } = await import('./lock.ts');
  await withLock(paths.eventsLock, 'exclusive', () => {
    if ((statSync(paths.events, { throwIfNoEntry: false })?.size ?? 0) <= JOURNAL_BYTES) return;
    for (let number = OLD_JOURNALS; number > 0; number -= 1) {
      moveAside(number === 1 ? paths.events : paths.oldEvents(number - 1), paths.oldEvents(number));
    }
  });
}

function moveAside(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error;
  }
}
