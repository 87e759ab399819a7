import { readSync } from 'node:fs';

/** Bytes per read: large enough that the pipe to the reader is the bottleneck. */
const READ_SIZE = 256 << 10;

/**
 * A file that is read while it is written: the writer says how far it has come, the reader waits there. So the network
 * is never slower than itself because an unpacker is: what a killed command received is in the file, not in the
 * kernel's socket buffers (megabytes per connection, fetched again otherwise).
 */
export class GrowingFile implements AsyncIterable<Uint8Array> {
  readonly #fd: number;
  readonly #size: number;
  #written: number;
  #failure: { readonly error: unknown } | undefined;
  #wake: (() => void) | undefined;

  /** @param written bytes that are there; @param size bytes there will be */
  constructor(fd: number, written: number, size: number) {
    this.#fd = fd;
    this.#written = written;
    this.#size = size;
  }

  /** @param written bytes from the start of the file */
  reached(written: number): void {
    this.#written = written;
    this.#wake?.();
  }

  /** No more bytes will come: the reader gets what is there, then the error. */
  fail(error: unknown): void {
    this.#failure ??= { error };
    this.#wake?.();
  }

  /** The whole file, from its first byte. Synchronous reads: what was just written is in the page cache. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    for (let position = 0; position < this.#size; ) {
      if (position < this.#written) {
        const chunk = Buffer.allocUnsafe(Math.min(READ_SIZE, this.#written - position));
        const length = readSync(this.#fd, chunk, 0, chunk.length, position);
        if (length === 0) throw new Error('a partial download became shorter while it was read');
        position += length;
        yield chunk.subarray(0, length);
      } else if (this.#failure !== undefined) {
        throw this.#failure.error;
      } else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }
}
