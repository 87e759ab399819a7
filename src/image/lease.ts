import { closeSync, constants, openSync } from 'node:fs';
import { makePrivateDirectory } from '../disk/atomic.ts';
import type { Paths } from '../disk/paths.ts';
import { flock } from '../native/syscalls.ts';

/** Milliseconds between two tries: a collection holds the lease only while it renames. */
const PATIENCE = 5;

/** Holds the store's lease shared; see Store.lease(). */
export async function holdLease(paths: Paths): Promise<{ release(): void }> {
  const fd = openLease(paths);
  try {
    while (!flock(fd, 'shared', false)) {
      await new Promise((resolve) => setTimeout(resolve, PATIENCE));
    }
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  return { release: () => closeSync(fd) };
}

/** Runs `fn` while nobody holds a lease; undefined, and nothing run, where somebody does. */
export function whileUnleased<T>(paths: Paths, fn: () => T): T | undefined {
  const fd = openLease(paths);
  try {
    return flock(fd, 'exclusive', false) ? fn() : undefined;
  } finally {
    closeSync(fd);
  }
}

function openLease(paths: Paths): number {
  makePrivateDirectory(paths.root);
  return openSync(paths.storeLease, constants.O_RDWR | constants.O_CREAT, 0o600);
}
