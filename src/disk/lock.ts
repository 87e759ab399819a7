import { closeSync, fstatSync, openSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { errorCode } from '../errors.ts';
import { flock } from '../native/syscalls.ts';
import { makePrivateDirectory } from './atomic.ts';

const WAIT_MAX_MS = 20;

/**
 * Runs `fn` while a lock file is locked, against other processes and against other calls in this one. Waits without
 * blocking the event loop. The kernel drops the lock with the process, however it ends; the file stays.
 * @param path made if it is missing, with its directory
 */
export async function withLock<T>(
  path: string,
  how: 'shared' | 'exclusive',
  fn: () => Promise<T> | T,
): Promise<T> {
  const fd = await lockedFile(path, how);
  try {
    return await fn();
  } finally {
    closeSync(fd);
  }
}

async function lockedFile(path: string, how: 'shared' | 'exclusive'): Promise<number> {
  for (let wait = 1; ; wait = Math.min(wait * 2, WAIT_MAX_MS)) {
    const fd = openLock(path);
    if (tryLock(fd, how, path)) return fd;
    closeSync(fd);
    // A random share keeps two who wait from asking at the same moments for ever.
    const ms = wait * (0.5 + Math.random() / 2);
    await new Promise((resolve) => setTimeout(resolve, ms));
  }
}

function tryLock(fd: number, how: 'shared' | 'exclusive', path: string): boolean {
  try {
    if (!flock(fd, how, false)) return false;
    // Whoever removed the file has left us the lock on a file that nobody else will ask for.
    return statSync(path, { throwIfNoEntry: false })?.ino === fstatSync(fd).ino;
  } catch (error) {
    closeSync(fd);
    throw error;
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
