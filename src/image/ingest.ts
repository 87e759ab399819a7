import { closeSync, constants, fstatSync, openSync, renameSync, statSync, unlinkSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { makePrivateDirectory } from '../disk/atomic.ts';
import type { Paths } from '../disk/paths.ts';
import { errorCode } from '../errors.ts';
import { flock } from '../native/syscalls.ts';
import type { Digest } from '../oci/digest.ts';

/** Milliseconds between two looks at a blob that somebody else downloads. */
const SHORTEST_WAIT = 5;
const LONGEST_WAIT = 200;

/**
 * A layer blob that this command alone works on: either the finished one in `blobs/`, or a partial download in `ingest/`.
 * A partial holds the raw bytes from the start of the blob, unverified; it outlives the command, even by kill -9, and the
 * next one goes on where it ends.
 *
 * The lock (flock) is on the file itself, so it dies with the command, needs no lock files, and a second pull of
 * the same blob, in this process or another, waits here and then finds the blob finished.
 */
export interface HeldBlob {
  readonly fd: number;
  /** True: in `blobs/`, verified when it came there. */
  readonly complete: boolean;
  /** Bytes in the file now. */
  size(): number;
  /** Moves a partial whose digest was verified to `blobs/`. */
  commit(): void;
  /** Deletes the file: its bytes are wrong. */
  discard(): void;
  /** Gives the lock up; a partial stays for the next command. */
  release(): void;
}

export interface HoldOptions {
  /** Bytes the blob has: a longer partial is none. */
  readonly size: number;
  readonly signal?: AbortSignal | undefined;
}

/** Waits for the lock without blocking the event loop. @throws the signal's reason */
export async function holdBlob(paths: Paths, digest: Digest, options: HoldOptions): Promise<HeldBlob> {
  makePrivateDirectory(paths.ingest);
  makePrivateDirectory(paths.blobs);
  for (let wait = SHORTEST_WAIT; ; wait = Math.min(wait * 2, LONGEST_WAIT)) {
    options.signal?.throwIfAborted();
    const held = tryHold(paths, digest, options.size);
    if (held !== undefined) return held;
    await sleep(wait, undefined, options.signal === undefined ? {} : { signal: options.signal });
  }
}

function tryHold(paths: Paths, digest: Digest, size: number): HeldBlob | undefined {
  const finished = lockFile(paths.blob(digest), constants.O_RDONLY);
  if (finished === 'busy') return undefined;
  if (finished !== 'missing') return heldBlob(paths, digest, { fd: finished, complete: true });
  const fd = lockFile(paths.partial(digest), constants.O_RDWR | constants.O_CREAT);
  if (fd === 'busy' || fd === 'missing') return undefined;
  // Between the two looks somebody may have finished it and somebody else (we) begun a new partial.
  if (statSync(paths.blob(digest), { throwIfNoEntry: false }) !== undefined) {
    unlinkSync(paths.partial(digest));
    closeSync(fd);
    return undefined;
  }
  const held = heldBlob(paths, digest, { fd, complete: false });
  if (held.size() <= size) return held;
  held.discard();
  held.release();
  return undefined;
}

/** The locked file, if the path still names it: its former holder may have renamed or deleted it. */
function lockFile(path: string, flags: number): number | 'busy' | 'missing' {
  let fd: number;
  try {
    fd = openSync(path, flags | constants.O_NOFOLLOW, 0o600);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return 'missing';
    throw error;
  }
  try {
    if (flock(fd, 'exclusive', false)) {
      const found = statSync(path, { throwIfNoEntry: false });
      if (found !== undefined && found.ino === fstatSync(fd).ino) return fd;
    }
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  closeSync(fd);
  return 'busy';
}

function heldBlob(paths: Paths, digest: Digest, file: { fd: number; complete: boolean }): HeldBlob {
  const { fd, complete } = file;
  const path = complete ? paths.blob(digest) : paths.partial(digest);
  let isPartial = !complete;
  return {
    fd,
    complete,
    size: () => fstatSync(fd).size,
    commit: () => {
      if (isPartial) renameSync(path, paths.blob(digest));
      isPartial = false;
    },
    discard: () => {
      unlinkSync(path);
      isPartial = false;
    },
    release: () => {
      if (isPartial && fstatSync(fd).size === 0) unlinkSync(path);
      closeSync(fd);
    },
  };
}

/** Deletes a partial download, unless somebody works on it. */
export function dropPartial(paths: Paths, digest: Digest): void {
  const fd = lockFile(paths.partial(digest), constants.O_RDWR);
  if (fd === 'busy' || fd === 'missing') return;
  try {
    unlinkSync(paths.partial(digest));
  } finally {
    closeSync(fd);
  }
}
