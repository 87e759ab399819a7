import { createHash, type Hash } from 'node:crypto';
import { closeSync, mkdirSync, readFileSync, readSync } from 'node:fs';
import { dirname } from 'node:path';
import { writeFileAtomic } from '../disk/atomic.ts';
import { errorCode } from '../errors.ts';
import type { Digest } from '../oci/digest.ts';

/** What tells that a file has not changed since it was read. Times are milliseconds with the kernel's fractions. */
export interface FileStamp {
  readonly ino: number;
  readonly size: number;
  readonly mtimeMs: number;
  readonly ctimeMs: number;
}

interface Known extends FileStamp {
  readonly digest: Digest;
}

/**
 * The digests of a directory's files from one build to the next, so that a build reads only what has changed. Only a help:
 * a lost or damaged cache costs time, and what it says is never trusted further than the stamp.
 */
export interface StatCache {
  find(path: string, stamp: FileStamp): Digest | undefined;
  /** @param readAt when reading began, by the clock that stamps files */
  put(path: string, stamp: FileStamp, digest: Digest, readAt: number): void;
  /** Writes all that is known. @param isThere whether a path that this build did not ask for is still in the tree */
  save(isThere: (path: string) => boolean): void;
}

/**
 * A file changed twice within one tick of the file system's clock has the same stamp (git calls it racy): a stamp that is
 * not older than this when the file is read is not kept.
 */
const TICK_MS = 1500;
/** Digits of a sha256. */
const HEX = 64;
const VERSION = 'tinyrun stat cache 1';

/** @param file where it is kept; undefined: for this build only */
export function openStatCache(file: string | undefined): StatCache {
  const before = file === undefined ? new Map<string, Known>() : load(file);
  const now = new Map<string, Known>();
  let changed = false;
  return {
    find: (path, stamp) => {
      const known = now.get(path) ?? before.get(path);
      if (known === undefined || !sameStamp(known, stamp)) return undefined;
      now.set(path, known);
      return known.digest;
    },
    put: (path, { ino, size, mtimeMs, ctimeMs }, digest, readAt) => {
      if (ctimeMs > readAt - TICK_MS || mtimeMs > readAt - TICK_MS) return;
      now.set(path, { ino, size, mtimeMs, ctimeMs, digest });
      changed = true;
    },
    save: (isThere) => {
      for (const [path, known] of before) {
        if (now.has(path)) continue;
        if (isThere(path)) now.set(path, known);
        else changed = true;
      }
      if (file === undefined || !changed) return;
      mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
      const lines = [VERSION];
      for (const [path, { ino, size, mtimeMs, ctimeMs, digest }] of now)
        if (!path.includes('\n'))
          lines.push(`${digest.slice(7)} ${ino} ${size} ${mtimeMs} ${ctimeMs} ${path}`);
      writeFileAtomic(file, `${lines.join('\n')}\n`, { durable: false });
    },
  };
}

export function sameStamp(a: FileStamp, b: FileStamp): boolean {
  return a.ino === b.ino && a.size === b.size && a.mtimeMs === b.mtimeMs && a.ctimeMs === b.ctimeMs;
}

function load(file: string): Map<string, Known> {
  const known = new Map<string, Known>();
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return known;
    throw error;
  }
  const lines = text.split('\n');
  if (lines[0] !== VERSION) return known;
  for (const line of lines) {
    const [digest = '', ino, size, mtimeMs, ctimeMs] = line.split(' ', 5);
    const path = line.slice([digest, ino, size, mtimeMs, ctimeMs].join(' ').length + 1);
    // Whatever the numbers of a damaged line are, they are not those of a file.
    if (digest.length !== HEX || path === '') continue;
    known.set(path, {
      digest: `sha256:${digest}` as Digest,
      ino: Number(ino),
      size: Number(size),
      mtimeMs: Number(mtimeMs),
      ctimeMs: Number(ctimeMs),
    });
  }
  return known;
}

const CHUNK = 1024 * 1024;
let chunk: Buffer | undefined;

/** sha256 of all that a descriptor gives from its start on; closes it. */
export function hashDescriptor(fd: number): Digest {
  chunk ??= Buffer.allocUnsafe(CHUNK);
  const hash = createHash('sha256');
  try {
    feed(hash, fd, chunk);
  } finally {
    closeSync(fd);
  }
  return `sha256:${hash.digest('hex')}` as Digest;
}

function feed(hash: Hash, fd: number, buffer: Buffer): void {
  for (;;) {
    const length = readSync(fd, buffer, 0, buffer.length, null);
    if (length === 0) return;
    hash.update(buffer.subarray(0, length));
  }
}
