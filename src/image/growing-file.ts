/**
 * How far a file has been written, for who reads it while it grows: the unpacker, which reads it itself. So the network
 * is never slower than itself because an unpacker is: what a killed command received is in the file, not in the
 * kernel's socket buffers (megabytes per connection, fetched again otherwise).
 */
export class GrowingFile implements AsyncIterable<number> {
  readonly #size: number;
  #written: number;
  #failure: { readonly error: unknown } | undefined;
  #wake: (() => void) | undefined;

  /** @param written bytes that are there; @param size bytes there will be */
  constructor(written: number, size: number) {
    this.#written = written;
    this.#size = size;
  }

  /** @param written bytes from the start of the file */
  reached(written: number): void {
    this.#written = written;
    this.#wake?.();
  }

  /** No more bytes will come: the reader is told of what is there, then of the error. */
  fail(error: unknown): void {
    this.#failure ??= { error };
    this.#wake?.();
  }

  /** The bytes that are there, each time they are more, until all are. */
  async *[Symbol.asyncIterator](): AsyncGenerator<number, void, undefined> {
    for (let told = 0; told < this.#size; ) {
      if (told < this.#written) {
        told = this.#written;
        yield told;
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
