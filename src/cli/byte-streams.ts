import { errorCode, TinyrunError } from '../errors.ts';
import type { Output } from './context.ts';

/** Bytes per read. */
const READ_SIZE = 256 << 10;

/** Standard input as bytes. */
export async function* bytesOf(
  stdin: AsyncIterable<string | Buffer>,
): AsyncGenerator<Uint8Array, void, undefined> {
  for await (const chunk of stdin) yield typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
}

/** A file of the host as bytes. @throws TinyrunError in Docker's words */
export async function* fileBytes(path: string): AsyncGenerator<Uint8Array, void, undefined> {
  const { createReadStream } = await import('node:fs');
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: READ_SIZE })) yield chunk as Uint8Array;
  } catch (error) {
    const code = errorCode(error);
    if (code === 'ENOENT') throw new TinyrunError('not_found', `open ${path}: no such file or directory`);
    if (code === 'EISDIR') throw new TinyrunError('invalid', `read ${path}: is a directory`);
    throw error;
  }
}

/** Writes a stream out, as fast as the other end takes it. */
export async function pour(chunks: AsyncIterable<Uint8Array>, output: Output): Promise<void> {
  for await (const chunk of chunks) {
    if (!output.write(chunk)) await new Promise<void>((drained) => output.once('drain', drained));
  }
}

/**
 * Writes a stream to a file, under another name first: what fails leaves no half file, nor takes the old one away.
 * @throws TinyrunError `unavailable` where it cannot be written
 */
export async function writeWhole(path: string, chunks: AsyncIterable<Uint8Array>): Promise<void> {
  const { open, rename, rm, stat } = await import('node:fs/promises');
  const found = await stat(path).catch(() => undefined);
  // A device or a pipe cannot be replaced.
  const isInPlace = found !== undefined && !found.isFile();
  const target = isInPlace ? path : `${path}.${Date.now().toString(36)}.tmp`;
  try {
    const file = await open(target, isInPlace ? 'w' : 'wx', 0o600);
    try {
      for await (const chunk of chunks) await file.writeFile(chunk);
    } finally {
      await file.close();
    }
    if (!isInPlace) await rename(target, path);
  } catch (error) {
    if (!isInPlace) await rm(target, { force: true });
    throw error instanceof TinyrunError
      ? error
      : new TinyrunError('unavailable', `Cannot write "${path}"`, { cause: error });
  }
}
