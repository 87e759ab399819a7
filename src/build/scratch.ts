import { randomBytes } from 'node:crypto';
import { closeSync, mkdirSync, openSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { errorCode } from '../errors.ts';
import { flock } from '../native/syscalls.ts';

/** A directory that goes with the build, however that ends. */
export interface Scratch {
  readonly directory: string;
  release(): void;
}

/**
 * Makes an empty directory. Its lock is held as long as this process lives: what a killed build left is removed by the next
 * that makes one here.
 * @param parent paths.buildScratch
 */
export function makeScratch(parent: string): Scratch {
  mkdirSync(parent, { recursive: true, mode: 0o700 });
  sweep(parent);
  const directory = join(parent, randomBytes(8).toString('hex'));
  const lock = `${directory}.lock`;
  const fd = openSync(`${lock}.new`, 'wx', 0o600);
  flock(fd, 'exclusive', false);
  // Under this name only when it is locked: a sweeper would take it away.
  renameSync(`${lock}.new`, lock);
  mkdirSync(directory, { mode: 0o700 });
  return {
    directory,
    release() {
      rmSync(directory, { recursive: true, force: true });
      rmSync(lock, { force: true });
      closeSync(fd);
    },
  };
}

function sweep(parent: string): void {
  for (const name of readdirSync(parent)) {
    if (!name.endsWith('.lock')) continue;
    const lock = join(parent, name);
    let fd: number;
    try {
      fd = openSync(lock, 'r+');
    } catch (error) {
      if (errorCode(error) === 'ENOENT') continue;
      throw error;
    }
    try {
      if (!flock(fd, 'exclusive', false)) continue;
      rmSync(lock.slice(0, -'.lock'.length), { recursive: true, force: true });
      rmSync(lock, { force: true });
    } finally {
      closeSync(fd);
    }
  }
}
