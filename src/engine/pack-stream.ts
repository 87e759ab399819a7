import { Socket } from 'node:net';
import { runPacker } from '../image/pack.ts';
import { packProgram } from '../native/library.ts';
import { closeFd, socketPair } from '../native/syscalls.ts';

export interface PackStream {
  /** Of tinyrun-pack, without `--blob` and `--compression`. */
  readonly args: readonly string[];
  /** Open files, as descriptors 4 and so on. */
  readonly fds: readonly number[];
  /** What errors begin with. */
  readonly what: string;
  /** Called when it has ended, or when nobody reads any more. */
  close(): void;
  readonly signal?: AbortSignal;
}

/** A tar as a stream of bytes. It throws in the end where not all of it could be read. */
export async function* packStream(stream: PackStream): AsyncGenerator<Uint8Array, void, undefined> {
  const [out, into] = socketPair();
  const stop = new AbortController();
  const signal = stream.signal === undefined ? stop.signal : AbortSignal.any([stream.signal, stop.signal]);
  const { what, fds } = stream;
  const args = [...stream.args, '--compression', 'none', '--threads', '1'];
  const packing = runPacker({ packer: packProgram(), args, blobFd: out, fds, what, signal });
  // Looked at when the stream has ended; until then it is no unhandled one.
  packing.catch(() => {});
  closeFd(out);
  const socket = new Socket({ fd: into, readable: true, writable: false });
  try {
    for await (const chunk of socket) yield chunk as Uint8Array;
    await packing;
  } finally {
    stop.abort();
    socket.destroy();
    stream.close();
  }
}
