import { Readable } from 'node:stream';

/** What is sent with a request: opened anew for every try. */
export interface RequestBody {
  /** Bytes. */
  readonly length: number;
  open(): Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
}

/** Bytes that are read ahead of what a server has taken. */
const SEND_SIZE = 256 << 10;

/** @param onTaken called whenever the server has made room for more, and at the end */
export function bodyStream(body: RequestBody, onTaken: () => void): Readable {
  async function* chunks(): AsyncGenerator<Uint8Array, void, undefined> {
    for await (const chunk of body.open()) {
      onTaken();
      yield chunk;
    }
    onTaken();
  }
  return Readable.from(chunks(), { objectMode: false, highWaterMark: SEND_SIZE });
}
