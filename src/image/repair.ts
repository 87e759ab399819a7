import { randomBytes } from 'node:crypto';
import { closeSync, constants, openSync, readdirSync, renameSync, statSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { makePrivateDirectory } from '../disk/atomic.ts';
import type { Paths } from '../disk/paths.ts';
import { errorCode } from '../errors.ts';
import { flock, removeTree } from '../native/syscalls.ts';
import { type Digest, hexOf } from '../oci/digest.ts';

/** Milliseconds after which a download that nobody resumed is given up. */
const PARTIAL_LIFETIME = 7 * 24 * 3600 * 1000;
/** Milliseconds after which a temporary file of an atomic write must be a dead process's. */
const TEMPORARY_LIFETIME = 3600 * 1000;

/**
 * Clears away what killed commands left: half-unpacked layers, old partial downloads, temporary files, trash. What a
 * living command works on is locked (flock), so this may run at any time. A few directory reads where nothing is amiss.
 * @param now milliseconds since the epoch
 */
export function repairStore(paths: Paths, now: number = Date.now()): void {
  for (const name of namesIn(paths.layers)) {
    if (name.startsWith('tmp-')) removeUnlocked(join(paths.layers, name));
  }
  for (const name of namesIn(paths.ingest)) {
    const path = join(paths.ingest, name);
    if (olderThan(path, now - PARTIAL_LIFETIME)) unlinkUnlocked(path);
  }
  for (const directory of [paths.root, paths.blobs]) {
    for (const name of namesIn(directory)) {
      const path = join(directory, name);
      if (name.endsWith('.tmp') && olderThan(path, now - TEMPORARY_LIFETIME)) unlinkUnlocked(path);
    }
  }
  emptyTrash(paths);
}

/** Puts an unpacked layer out of sight, to be deleted by {@link emptyTrash}. None is as good as gone. */
export function buryLayer(paths: Paths, name: Digest): void {
  makePrivateDirectory(paths.trash);
  const grave = join(paths.trash, `layer-${hexOf(name).slice(0, 12)}-${randomBytes(6).toString('hex')}`);
  tolerant(() => renameSync(paths.layer(name), grave));
}

/** Deletes what is in the trash. Two commands may do it at once: what vanishes meanwhile is as good as deleted. */
export function emptyTrash(paths: Paths): void {
  for (const name of namesIn(paths.trash)) tolerant(() => removeTree(join(paths.trash, name)));
}

/** The lock is on the directory itself: it is dropped by the kernel when the command that unpacked into it dies. */
function removeUnlocked(directory: string): void {
  tolerant(() => {
    const fd = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
    try {
      if (flock(fd, 'exclusive', false)) removeTree(directory);
    } finally {
      closeSync(fd);
    }
  });
}

function unlinkUnlocked(path: string): void {
  tolerant(() => {
    const fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
    try {
      if (flock(fd, 'exclusive', false)) unlinkSync(path);
    } finally {
      closeSync(fd);
    }
  });
}

/** ENOENT: somebody was faster. ENOTEMPTY: a dying unpacker still wrote; the next repair has it. */
function tolerant(fn: () => void): void {
  try {
    fn();
  } catch (error) {
    if (!['ENOENT', 'ENOTEMPTY'].includes(errorCode(error) ?? '')) throw error;
  }
}

function olderThan(path: string, time: number): boolean {
  const found = statSync(path, { throwIfNoEntry: false });
  return found?.isFile() === true && found.mtimeMs < time;
}

function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return [];
    throw error;
  }
}
