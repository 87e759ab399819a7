import { createHash } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  closeSync,
  mkdirSync,
  openSync,
  renameSync,
  statSync,
  utimesSync,
} from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { makePrivateDirectory } from '../disk/atomic.ts';
import type { Paths } from '../disk/paths.ts';
import { errorCode } from '../errors.ts';
import { flock, removeTree } from '../native/syscalls.ts';
import type { MountSharing } from './dockerfile/ast.ts';

/** A directory of `RUN --mount=type=cache` that is ours to use. */
export interface HeldDirectory {
  /** Absolute; only builds and their programs write to it. */
  readonly path: string;
  release(): void;
}

export interface CacheRequest {
  readonly id: string;
  /** `from=`: another origin is another directory. */
  readonly origin?: string;
  readonly sharing: MountSharing;
  /** Of the directory when it is new. */
  readonly owner: { readonly mode: number; readonly uid: number; readonly gid: number };
  readonly signal: AbortSignal;
  /** Gives a new directory its first content. */
  readonly fill: (directory: string) => Promise<void>;
}

const PATIENCE_MS = 20;

/**
 * The directory of a cache mount. `shared`: many builds use it at once; `locked`: one after the other; `private`: each at the same
 * time gets one of its own, of which the next build takes one up again. The lock is on the directory around it and
 * goes with this process.
 */
export async function cacheDirectory(paths: Paths, request: CacheRequest): Promise<HeldDirectory> {
  const name = createHash('sha256')
    .update(JSON.stringify([request.id, request.origin ?? '']))
    .digest('hex');
  makePrivateDirectory(paths.buildMounts);
  const how = request.sharing === 'shared' ? 'shared' : 'exclusive';
  for (let attempt = 0; ; attempt += 1) {
    const number = request.sharing === 'private' ? attempt : 0;
    const directory = paths.buildMount(number === 0 ? name : `${name}-${number}`);
    const lock = lockDirectory(directory, how);
    if (lock !== undefined) return await prepared(directory, lock, request);
    if (request.sharing !== 'private') await sleep(PATIENCE_MS, undefined, { signal: request.signal });
  }
}

async function prepared(directory: string, lock: number, request: CacheRequest): Promise<HeldDirectory> {
  const path = `${directory}/data`;
  try {
    if (statSync(path, { throwIfNoEntry: false }) === undefined) await makeData(directory, path, request);
    const now = new Date();
    utimesSync(directory, now, now);
  } catch (error) {
    closeSync(lock);
    throw error;
  }
  return { path, release: () => closeSync(lock) };
}

/** Whole or not at all; of two that make it at the same time one is taken. */
async function makeData(directory: string, path: string, { owner, fill }: CacheRequest): Promise<void> {
  const half = `${directory}/new-${process.pid}-${Date.now()}`;
  mkdirSync(half, { mode: 0o700 });
  await fill(half);
  chmodSync(half, owner.mode);
  chownSync(half, owner.uid, owner.gid);
  try {
    renameSync(half, path);
  } catch (error) {
    if (!['EEXIST', 'ENOTEMPTY'].includes(errorCode(error) ?? '')) throw error;
    removeTree(half);
  }
}

/** The open directory, locked; undefined where somebody else has it. */
export function lockDirectory(directory: string, how: 'shared' | 'exclusive'): number | undefined {
  makePrivateDirectory(directory);
  let fd: number;
  try {
    fd = openSync(directory, 'r');
  } catch (error) {
    // Pruned between the two calls.
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
  try {
    if (flock(fd, how, false) && statSync(directory, { throwIfNoEntry: false }) !== undefined) return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  closeSync(fd);
  return undefined;
}
