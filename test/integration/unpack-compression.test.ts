import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, describe, expect } from 'vitest';
import { flipped, LAYER, noise, zstd } from '../fixtures/sample-layer.ts';
import { file, tar } from '../fixtures/tars.ts';
import { needing } from '../harness/requires.ts';
import { makeUnpackBench, piecesOf } from '../harness/unpacking.ts';

const it = needing('root');
const bench = makeUnpackBench();
const { unpack } = bench;

afterAll(bench.dispose);

/** A gzip member with every optional field of the header. */
function gzipWithFields(bytes: Uint8Array): Buffer {
  const plain = gzipSync(bytes);
  const head = Buffer.from(plain.subarray(0, 10));
  head[3] = 1 | 2 | 4 | 8 | 16;
  const extra = Buffer.alloc(2 + 5000, 7);
  extra.writeUInt16LE(5000, 0);
  const named = Buffer.concat([head, extra, Buffer.from('name\0comment\0')]);
  const sum = Buffer.alloc(2);
  sum.writeUInt16LE((headerSum(named) & 0xffff) >>> 0);
  return Buffer.concat([named, sum, plain.subarray(10)]);
}

/** CRC-32 of few bytes, by its definition. */
function headerSum(bytes: Uint8Array): number {
  let sum = 0xffffffff;
  for (const byte of bytes) {
    sum ^= byte;
    for (let bit = 0; bit < 8; bit += 1) sum = (sum >>> 1) ^ (sum & 1 ? 0xedb88320 : 0);
  }
  return (sum ^ 0xffffffff) >>> 0;
}

const skippable = Buffer.concat([
  Buffer.from('502a4d18', 'hex'),
  Buffer.from([4, 0, 0, 0]),
  Buffer.from('abcd'),
]);
const half = LAYER.length >> 1;

describe('unpackLayer() compression', () => {
  const whole: readonly (readonly [string, () => Uint8Array])[] = [
    ['none', () => LAYER],
    ['gzip', () => gzipSync(LAYER)],
    ['gzip, stored', () => gzipSync(LAYER, { level: 0 })],
    ['gzip, fixed codes', () => gzipSync(LAYER, { strategy: 4 })],
    ['gzip, best', () => gzipSync(LAYER, { level: 9 })],
    [
      'gzip of many members',
      () => Buffer.concat(Array.from(slices(LAYER, 100_000), (part) => gzipSync(part))),
    ],
    ['gzip with an empty member', () => Buffer.concat([gzipSync(''), gzipSync(LAYER), gzipSync('')])],
    ['gzip with zeros behind', () => Buffer.concat([gzipSync(LAYER), Buffer.alloc(3000)])],
    ['gzip with all fields in its header', () => gzipWithFields(LAYER)],
    ['zstd', () => zstd(LAYER)],
    ['zstd of many frames', () => Buffer.concat([zstd(LAYER.subarray(0, half)), zstd(LAYER.subarray(half))])],
    ['zstd with skippable frames', () => Buffer.concat([skippable, zstd(LAYER), skippable])],
    ['zstd with the largest window', () => zstd(LAYER, '--long=27', '-19')],
  ];
  for (const [what, compress] of whole) {
    it(what, async () => {
      const blob = compress();
      const { layer, outcome, blob: kept } = await unpack(blob, LAYER);
      expect(outcome).toBe('ok');
      expect(kept.equals(blob)).toBe(true);
      expect(readFileSync(join(layer, 'd/noise')).equals(noise(700_000))).toBe(true);
    });
  }

  it('byte by byte', async () => {
    const content = tar(file('x', 'some text, some text, some text'.repeat(20)));
    for (const blob of [gzipWithFields(content), zstd(content), content]) {
      expect((await unpack(blob, content, { body: piecesOf(blob, 1) })).outcome).toBe('ok');
    }
  });

  const gzip = gzipSync(LAYER);
  const broken: readonly (readonly [string, () => Uint8Array])[] = [
    ['a gzip that ends early', () => gzip.subarray(0, gzip.length - 10)],
    ['a gzip that ends inside its header', () => gzip.subarray(0, 7)],
    ['a gzip with a wrong sum', () => flipped(gzip, gzip.length - 6)],
    ['a gzip with a wrong length', () => flipped(gzip, gzip.length - 2)],
    ['a gzip with garbage behind', () => Buffer.concat([gzip, Buffer.from('garbage')])],
    ['a gzip with a flipped bit', () => flipped(gzip, 5000)],
    [
      'a gzip of a reserved block type',
      () => Buffer.concat([gzip.subarray(0, 10), Buffer.from([7]), Buffer.alloc(20)]),
    ],
    ['a zstd that ends early', () => zstd(LAYER).subarray(0, -10)],
    ['a zstd with a flipped bit', () => flipped(zstd(LAYER), 5000)],
    ['a zstd with garbage behind', () => Buffer.concat([zstd(LAYER), Buffer.from('garbage')])],
    ['a zstd with a window of 2 GiB', hugeWindow],
    ['xz', () => Buffer.from('fd377a585a000004e6d6b446', 'hex')],
    ['bzip2', () => Buffer.from('BZh91AY&SY')],
  ];
  for (const [what, make] of broken) {
    it(`refuses ${what}`, async () => {
      expect((await unpack(make(), LAYER)).outcome).toBe('corrupt');
    });
  }
});

/** A frame header that asks for a window of 2 GiB. */
function hugeWindow(): Buffer {
  return Buffer.concat([
    Buffer.from('28b52ffd00', 'hex'),
    Buffer.from([(31 - 10) << 3]),
    Buffer.alloc(64, 1),
  ]);
}

function* slices(bytes: Uint8Array, size: number): Generator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}
