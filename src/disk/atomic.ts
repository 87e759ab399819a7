import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { errorCode, TinyrunError } from '../errors.ts';

export interface WriteOptions {
  /** Permission bits of the new file; default 0o600. */
  readonly mode?: number;
  /** Wait until the bytes are on the medium; default true. False for what a power cut may lose. */
  readonly durable?: boolean;
}

let counter = 0;

/** Replaces `path` whole or not at all: temporary file, fsync, rename, so a reader never sees a half. */
export function writeFileAtomic(path: string, data: string | Uint8Array, options: WriteOptions = {}): void {
  const { mode = 0o600, durable = true } = options;
  counter += 1;
  const temporary = `${path}.${process.pid}.${counter}.tmp`;
  const fd = openSync(temporary, 'wx', mode);
  try {
    writeFileSync(fd, data);
    if (durable) fsyncSync(fd);
    closeSync(fd);
    renameSync(temporary, path);
  } catch (error) {
    try {
      closeSync(fd);
    } catch {
      // Closed already: the rename failed.
    }
    rmSync(temporary, { force: true });
    throw naming(path, error);
  }
  if (durable) syncDirectory(dirname(path));
}

/** Node does not say of a descriptor which file it is. */
function naming(path: string, error: unknown): unknown {
  if (error instanceof Error && 'code' in error && !('path' in error)) error.message += ` '${path}'`;
  return error;
}

export function writeJson(path: string, value: unknown, options: WriteOptions = {}): void {
  writeFileAtomic(path, `${JSON.stringify(value)}\n`, options);
}

/**
 * A JSON file of ours, or undefined where there is none.
 * @param parse narrows what was read; a file that an old version or a broken disk left gets a clear error
 */
export function readJson<T>(path: string, parse: (value: unknown) => T): T | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
  try {
    return parse(JSON.parse(text));
  } catch (cause) {
    throw new TinyrunError('internal', `Cannot read "${path}": it is damaged`, {
      cause,
      hint: 'Move the file away; what it described has to be made anew',
    });
  }
}

/**
 * Makes a directory and those above it, which nobody but root may enter (CVE-2021-41091).
 * Not by Node's `recursive`: that loops for ever where a parent exists but takes no entries, as /proc.
 */
export function makePrivateDirectory(path: string, mode = 0o700): void {
  // Most often it is there. Asked first: the first error that Node makes takes it 0.1 ms.
  if (statSync(path, { throwIfNoEntry: false })?.isDirectory() === true) return;
  const failed = tryDirectory(path, mode);
  if (failed === undefined) return;
  const parent = dirname(path);
  const isThere = statSync(parent, { throwIfNoEntry: false }) !== undefined;
  if (failed.code !== 'ENOENT' || parent === path) throw failed.error;
  // Somebody may have made the parent in between: then, too, this is the last try.
  if (!isThere) makePrivateDirectory(parent, mode);
  const again = tryDirectory(path, mode);
  if (again !== undefined) throw again.error;
}

/** Undefined: it is there. */
function tryDirectory(
  path: string,
  mode: number,
): { readonly code: string | undefined; readonly error: unknown } | undefined {
  try {
    mkdirSync(path, { mode });
    return undefined;
  } catch (error) {
    const code = errorCode(error);
    return code === 'EEXIST' && statSync(path).isDirectory() ? undefined : { code, error };
  }
}

function syncDirectory(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
