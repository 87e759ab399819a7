/**
 * The lock of a run directory. Whoever holds it works on the container: a start, from before it takes an address; its monitor,
 * which gets the same open file; whoever clears away what those have left. The kernel drops it when they are killed.
 */
import { closeSync, fstatSync, openSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { makePrivateDirectory } from '../disk/atomic.ts';
import { errorCode, TinyrunError } from '../errors.ts';
import { flock } from './syscalls.ts';

const LOCK_PATIENCE_MS = 3000;

/** Somebody else is at work there. */
export class LockedError extends TinyrunError {
  override readonly name = 'LockedError';

  constructor(path: string) {
    super('conflict', `Cannot start the container: "${path}" is locked by its monitor`);
  }
}

/**
 * Opens and locks the lock file, made with its directory where it is missing. A predecessor that is still cleaning up is waited for.
 * @returns the descriptor, which is the lock
 * @throws LockedError (`conflict`) where somebody goes on to hold it
 */
export async function takeLock(path: string): Promise<number> {
  const fd = await takeLockWithin(path, LOCK_PATIENCE_MS);
  if (fd !== undefined) return fd;
  throw new LockedError(path);
}

/**
 * As {@link takeLock}. Even a lock that nobody holds may take a moment: who asks whether it is held has it for that long.
 * @returns undefined where it is held for all of `patienceMs`
 */
export async function takeLockWithin(path: string, patienceMs: number): Promise<number | undefined> {
  const patience = Date.now() + patienceMs;
  for (;;) {
    const fd = openLock(path);
    if (flock(fd, 'exclusive', false)) {
      // A predecessor removes the file in the end, so it counts only if it is still the one of that name.
      const named = statSync(path, { throwIfNoEntry: false });
      if (named?.ino === fstatSync(fd).ino) return fd;
    }
    closeSync(fd);
    if (Date.now() > patience) return undefined;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

function openLock(path: string): number {
  try {
    return openSync(path, 'a', 0o600);
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error;
    makePrivateDirectory(dirname(path));
    return openSync(path, 'a', 0o600);
  }
}
