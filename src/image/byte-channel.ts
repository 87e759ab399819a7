/** Bytes that may wait between the network and the unpacker. */
const CAPACITY = 1 << 20;

/**
 * Chunks from one who pushes to one who iterates, with back-pressure but without a promise per chunk while there is
 * room. When the reader leaves its loop, the writer is told by an exception.
 */
export class ByteChannel implements AsyncIterable<Uint8Array> {
  #chunks: Uint8Array[] = [];
  #waiting = 0;
  #state: 'open' | 'ended' | 'failed' | 'left' = 'open';
  #error: unknown;
  #reader: (() => void) | undefined;
  #writer: (() => void) | undefined;

  /** @returns a promise only where the writer has to wait. @throws ReaderGone */
  put(chunk: Uint8Array): void | Promise<void> {
    if (this.#state !== 'open') throw new ReaderGone();
    this.#chunks.push(chunk);
    this.#waiting += chunk.byteLength;
    this.#wakeReader();
    return this.#waiting > CAPACITY ? this.#room() : undefined;
  }

  end(): void {
    if (this.#state === 'open') this.#state = 'ended';
    this.#wakeReader();
  }

  /** The reader gets what was put before, then the error. */
  fail(error: unknown): void {
    if (this.#state === 'open') {
      this.#state = 'failed';
      this.#error = error;
    }
    this.#wakeReader();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      for (;;) {
        const chunks = this.#chunks;
        this.#chunks = [];
        this.#waiting = 0;
        this.#writer?.();
        yield* chunks;
        if (this.#chunks.length > 0) continue;
        if (this.#state === 'failed') throw this.#error;
        if (this.#state !== 'open') return;
        await new Promise<void>((resolve) => {
          this.#reader = resolve;
        });
      }
    } finally {
      this.#state = 'left';
      this.#writer?.();
    }
  }

  async #room(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#writer = resolve;
    });
    this.#writer = undefined;
    if (this.#state === 'left') throw new ReaderGone();
  }

  #wakeReader(): void {
    this.#reader?.();
    this.#reader = undefined;
  }
}

/** What the writer meets when nobody reads any more; the reader's own error says why. */
export class ReaderGone extends Error {
  override readonly name = 'ReaderGone';
  override readonly message = 'nobody reads the channel any more';
}
