import { readSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { UnpackError, type UnpackLayer, type UnpackReport } from '../../src/image/unpack.ts';
import { digestOf } from './images.ts';

/** Stands in for the native unpacker where there is no root: verifies as it does, and writes the tar as one file. */
export class FakeUnpacker {
  /** Layer directories, in order. */
  readonly calls: { readonly layerDir: string; readonly have: number; readonly lower: readonly string[] }[] =
    [];
  /** At the same time, at the most. */
  most = 0;
  #now = 0;
  /** Called when a layer's bytes are all there, before the digests are compared. */
  beforeEnd: (name: string) => void | Promise<void> = () => {};

  readonly unpack: UnpackLayer = async (input) => {
    const { layerDir, have, lower = [] } = input;
    this.calls.push({ layerDir, have, lower });
    this.#now += 1;
    this.most = Math.max(this.most, this.#now);
    try {
      return await this.#run(input);
    } finally {
      this.#now -= 1;
    }
  };

  async #run({
    layerDir,
    blobFd,
    have,
    descriptor,
    diffId,
    body,
    arrived,
    signal,
  }: Parameters<UnpackLayer>[0]): Promise<UnpackReport> {
    const raw = Buffer.alloc(descriptor.size);
    let at = readSync(blobFd, raw, 0, have, 0);
    if (body !== undefined) {
      for await (const chunk of body) {
        writeSync(blobFd, chunk, 0, chunk.length, at);
        raw.set(chunk, at);
        at += chunk.length;
      }
    }
    for await (const there of arrived ?? []) at += readSync(blobFd, raw, at, there - at, at);
    signal?.throwIfAborted();
    await this.beforeEnd(descriptor.digest);
    const fail = (kind: 'digest' | 'diffid'): never => {
      throw new UnpackError(descriptor.digest, { kind, message: `wrong ${kind}` });
    };
    if (at !== descriptor.size || digestOf(raw) !== descriptor.digest) fail('digest');
    const tar = raw.subarray(0, 2).equals(Buffer.from([0x1f, 0x8b])) ? gunzipSync(raw) : raw;
    if (digestOf(tar) !== diffId) fail('diffid');
    writeFileSync(join(layerDir, 'content.tar'), tar);
    return { files: 1, bytes: tar.length, opaqueRoot: false };
  }
}
