import type { Readable } from 'node:stream';
import { connectionError, RegistryError } from './errors.ts';
import { printableUrl } from './printable.ts';

export interface BodySource {
  readonly method: string;
  readonly url: URL;
  readonly stream: Readable;
  /** Milliseconds without a byte after which the body is given up. */
  readonly stall: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * The chunks of a body. A silent server is noticed: the time runs only while this waits for the server, never while the
 * consumer is busy. Leaving the loop early closes the connection.
 * @throws RegistryError `unavailable` (to be retried) when the body stalls or breaks off
 */
export async function* chunksOf(source: BodySource): AsyncGenerator<Uint8Array, void, undefined> {
  const { stream, stall, method, url } = source;
  let isWaiting = false;
  const timer = setTimeout(() => {
    if (isWaiting)
      stream.destroy(new RegistryError('unavailable', stallMessage(source), { retry: 'always' }));
  }, stall);
  const chunks = stream[Symbol.asyncIterator]();
  try {
    for (;;) {
      isWaiting = true;
      timer.refresh();
      const next = await chunks.next();
      isWaiting = false;
      if (next.done === true) return;
      yield next.value as Uint8Array;
    }
  } catch (error) {
    source.signal?.throwIfAborted();
    throw error instanceof RegistryError ? error : connectionError(method, url, error, true);
  } finally {
    clearTimeout(timer);
    stream.destroy();
  }
}

function stallMessage({ method, url, stall }: BodySource): string {
  return `${method} ${printableUrl(url)}: the server sent nothing for ${Math.round(stall / 100) / 10} s`;
}

/**
 * The chunks of a body of known length.
 * @param size bytes of the whole; not one more is passed on
 * @param start the position of the body's first byte in the whole
 * @throws RegistryError `unavailable` (to be retried) for a body that ends early, `invalid` for one that is longer
 */
export async function* exactly(
  source: BodySource,
  size: number,
  start = 0,
): AsyncGenerator<Uint8Array, void, undefined> {
  let left = size - start;
  for await (const chunk of chunksOf(source)) {
    if (chunk.length > left) throw sizeError(source.method, source.url, size);
    left -= chunk.length;
    yield chunk;
  }
  if (left > 0) {
    throw new RegistryError(
      'unavailable',
      `${source.method} ${printableUrl(source.url)}: the answer ended ${left} bytes early`,
      { retry: 'always' },
    );
  }
}

/** The server and the manifest do not agree on the size; the manifest was verified, so it is right. */
export function sizeError(method: string, url: URL, expected: number, offered?: number): RegistryError {
  const said = offered === undefined ? 'more' : String(offered);
  return new RegistryError(
    'invalid',
    `${method} ${printableUrl(url)}: the size is wrong: the server sends ${said} bytes, expected ${expected}`,
    { retry: 'once' },
  );
}

/**
 * A whole body in memory.
 * @param longest bytes; a longer body is an error as soon as that is known (CVE-2023-25153)
 */
export async function readBounded(source: BodySource, longest: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of chunksOf(source)) {
    length += chunk.length;
    if (length > longest) {
      throw new RegistryError(
        'invalid',
        `${source.method} ${printableUrl(source.url)}: the answer is too long, expected ${longest} bytes at most`,
      );
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, length);
}

/** At most `longest` bytes of a body, for an error message; a body that stalls or breaks off gives what came. */
export async function readStart(source: BodySource, longest: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  try {
    for await (const chunk of chunksOf(source)) {
      chunks.push(chunk);
      length += chunk.length;
      if (length >= longest) break;
    }
  } catch (error) {
    if (!(error instanceof RegistryError)) throw error;
  }
  return Buffer.concat(chunks).subarray(0, longest);
}
