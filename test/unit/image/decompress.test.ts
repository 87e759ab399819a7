import { execFileSync } from 'node:child_process';
import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { decompressed, sniff } from '../../../src/image/decompress.ts';
import { zstdStored } from '../../harness/images.ts';

const hasZstd = (() => {
  try {
    execFileSync('zstd', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
})();

async function* inPieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function all(bytes: Uint8Array, size = 1000): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of decompressed(inPieces(bytes, size))) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

const text = 'some text '.repeat(5000);

test.each([1, 3, 1000])(
  'decompressed() knows plain and gzip bytes that come in pieces of %i',
  async (size) => {
    expect(await all(Buffer.from('short'), size)).toBe('short');
    expect(await all(gzipSync(text), size)).toBe(text);
    // Two members, as pigz and bgzip write them.
    expect(await all(Buffer.concat([gzipSync('a'), gzipSync('b')]), size)).toBe('ab');
  },
);

test.skipIf(!hasZstd)('decompressed() gives zstd to its program', async () => {
  expect(await all(zstdStored(Buffer.from(text)))).toBe(text);
  await expect(all(zstdStored(Buffer.from(text)).subarray(0, 9000))).rejects.toThrow('zstd data is damaged');
});

test('decompressed() refuses what is damaged or of another kind', async () => {
  await expect(all(gzipSync(text).fill(1, 40))).rejects.toThrow('gzip data is damaged');
  await expect(all(gzipSync(text).subarray(0, 60))).rejects.toThrow('gzip data is damaged');
  await expect(all(Buffer.from('BZh91AY'))).rejects.toThrow('compressed with bzip2');
});

test('decompressed() passes on what its source throws', async () => {
  async function* broken(): AsyncGenerator<Uint8Array> {
    yield gzipSync(text).subarray(0, 50);
    throw new Error('no more');
  }
  const read = async () => {
    for await (const _ of decompressed(broken()));
  };
  await expect(read()).rejects.toThrow('no more');
});

test('sniff() of other bytes is undefined', () => {
  expect(sniff(new Uint8Array())).toBeUndefined();
  expect(sniff(Buffer.from('ustar'))).toBeUndefined();
});
