import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, describe, expect } from 'vitest';
import { isUnpackError } from '../../src/image/unpack.ts';
import { directory, file, hardLink, pax, symlink, tar } from '../fixtures/tars.ts';
import { describeTree } from '../fixtures/trees.ts';
import { needing } from '../harness/requires.ts';
import { digestOf, makeUnpackBench, piecesOf } from '../harness/unpacking.ts';

const it = needing('root');
const bench = makeUnpackBench();
const { unpack } = bench;

afterAll(bench.dispose);

/** Bytes that do not compress, and do not repeat. */
function noise(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  let state = 1;
  for (let at = 0; at < length; at += 1) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    bytes[at] = state >>> 16;
  }
  return bytes;
}

const LAYER = tar(
  directory('d'),
  file('d/text', 'line of text\n'.repeat(100_000)),
  file('d/noise', noise(700_000)),
);

function zstd(bytes: Uint8Array, ...options: string[]): Buffer {
  return execFileSync('zstd', ['-q', '-c', ...options], { input: bytes, maxBuffer: 1 << 30 });
}

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

function flipped(bytes: Uint8Array, at: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[at] = (copy[at] ?? 0) ^ 0x10;
  return copy;
}

describe('unpackLayer() verification', () => {
  const blob = gzipSync(LAYER);

  it('a blob with another digest: digest, whatever else is wrong with it', async () => {
    for (const bytes of [blob, flipped(blob, 5000), Buffer.alloc(blob.length, 'x')]) {
      const descriptor = { mediaType: '', digest: digestOf(Buffer.from('other')), size: bytes.length };
      const { outcome, error } = await unpack(bytes, LAYER, { descriptor });
      expect(outcome).toBe('digest');
      expect(String(error)).toContain(`filesystem layer verification failed for digest ${descriptor.digest}`);
    }
  });

  it('content with another diffID: diffid', async () => {
    expect((await unpack(blob, Buffer.from('other'))).outcome).toBe('diffid');
  });

  it('a body that is too short or too long: size', async () => {
    expect((await unpack(blob, LAYER, { body: piecesOf(blob.subarray(0, -1)) })).outcome).toBe('size');
    expect(
      (await unpack(blob, LAYER, { body: piecesOf(Buffer.concat([blob, Buffer.from('x')])) })).outcome,
    ).toBe('size');
    expect((await unpack(blob, LAYER, { body: piecesOf(Buffer.alloc(0)) })).outcome).toBe('size');
  });

  it('goes on from what is in the file, and verifies that too', async () => {
    for (const have of [1, 5000, blob.length - 1, blob.length]) {
      const { outcome, blob: kept } = await unpack(blob, LAYER, { have });
      expect(outcome).toBe('ok');
      expect(kept.equals(blob)).toBe(true);
    }
    const other = flipped(blob, 100);
    const descriptor = { mediaType: '', digest: digestOf(blob), size: blob.length };
    expect((await unpack(other, LAYER, { have: 5000, descriptor })).outcome).toBe('digest');
  });

  it('a body that fails: its error, and all that came is in the file', async () => {
    async function* broken() {
      yield* piecesOf(blob.subarray(0, 400_000));
      throw new Error('connection reset');
    }
    const { outcome, blob: kept } = await unpack(blob, LAYER, { body: broken() });
    expect(outcome).toBe('Error: connection reset');
    expect(kept.equals(blob.subarray(0, 400_000))).toBe(true);
  });

  it('an abort kills it, also while nothing comes', async () => {
    const controller = new AbortController();
    async function* stalled() {
      yield blob.subarray(0, 1000);
      setTimeout(() => controller.abort(new Error('interrupted')), 20);
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    const { outcome } = await unpack(blob, LAYER, { body: stalled(), signal: controller.signal });
    expect(outcome).toBe('Error: interrupted');
  });

  it('an unpacker that is not there', async () => {
    const { error } = await unpack(blob, LAYER, { unpacker: '/nowhere/tinyrun-unpack' });
    expect(String(error)).toContain('Cannot start "/nowhere/tinyrun-unpack": ENOENT');
  });

  it('more than may be uncompressed: tar', async () => {
    expect((await unpack(blob, LAYER, { maxBytes: 100_000 })).outcome).toBe('tar');
  });

  it('a bomb after the end of the archive: tar, within bounded time', async () => {
    const bomb = Buffer.concat([tar(file('x', 'x')), Buffer.alloc(300 << 20)]);
    expect((await unpack(gzipSync(bomb, { level: 1 }), bomb)).outcome).toBe('tar');
  });
});

describe('unpackLayer() links into the layers below', () => {
  const base = tar(
    directory('bin', { mode: 0o711, uid: 4, mtime: 44 }),
    pax([
      ['SCHILY.xattr.security.capability', Buffer.from('0100000200040000000000000000000000000000', 'hex')],
    ]),
    file('bin/ping', noise(300_000), { mode: 0o4755, uid: 3, mtime: 33 }),
    symlink('bin/link', 'ping', { mtime: 22 }),
    directory('gone'),
    file('gone/x', 'x'),
  );
  const over = tar(file('.wh.gone', ''), directory('bin'), file('bin/.wh.nothing', ''));

  it('names the file that is missing', async () => {
    const { outcome, error } = await unpack(tar(hardLink('usr/ping', 'bin/ping')));
    expect(outcome).toBe('needs-lower');
    expect(isUnpackError(error) && error.path).toBe('bin/ping');
  });

  it('copies the file up with all that it has, and links it', async () => {
    const lower = [(await unpack(over)).layer, (await unpack(base)).layer];
    const content = tar(
      hardLink('ping2', 'bin/ping'),
      hardLink('ping3', 'bin/ping'),
      hardLink('link2', 'bin/link'),
    );
    const { layer, outcome } = await unpack(content, content, { lower });
    expect(outcome).toBe('ok');
    const tree = await describeTree(layer);
    const below = await describeTree(lower[1] ?? '');
    expect(tree.get('bin/link')).toBe(below.get('bin/link'));
    expect(tree.get('bin/ping')).toBe(below.get('bin/ping'));
    expect(tree.get('bin/ping')).toMatch(/^file 4755 3:0 300000 33 \{security\.capability=/);
    expect(tree.get('ping2')).toContain('link 4755 3:0 0 33 -> ./bin/ping');
    expect(execFileSync('stat', ['-c', '%h', join(layer, 'ping3')], { encoding: 'utf8' })).toBe('3\n');
  });

  it('does not find what a layer between has deleted', async () => {
    const lower = [(await unpack(over)).layer, (await unpack(base)).layer];
    const content = tar(hardLink('x', 'gone/x'));
    expect((await unpack(content, content, { lower })).outcome).toBe('needs-lower');
  });

  it('does not leave the layers below', async () => {
    const evil = tar(symlink('out', bench.canary), symlink('file', join(bench.canary, 'file')));
    const lower = [(await unpack(evil)).layer];
    const content = tar(hardLink('x', 'out/file'));
    expect((await unpack(content, content, { lower })).outcome).toBe('needs-lower');
    // A link to the symlink itself is one to a symlink.
    const other = tar(hardLink('y', 'file'), file('y', 'overwritten'));
    expect((await unpack(other, other, { lower })).outcome).toBe('ok');
    expect(readFileSync(join(bench.canary, 'file'), 'utf8')).toBe('as it was');
  });
});

describe('unpackLayer() on a full disk', () => {
  it('space, and the process has gone', async () => {
    const small = join(bench.top, 'small');
    mkdirSync(small);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', small]);
    try {
      const layerDir = join(small, 'fs');
      mkdirSync(layerDir);
      const { outcome, error } = await unpack(gzipSync(LAYER), LAYER, { layerDir });
      expect(outcome).toBe('space');
      expect(error).toMatchObject({ kind: 'unavailable', code: 'ENOSPC' });
    } finally {
      execFileSync('umount', [small]);
    }
  });

  it('no inode is left: space', async () => {
    const small = join(bench.top, 'inodes');
    mkdirSync(small);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'nr_inodes=10', 'tmpfs', small]);
    try {
      const layerDir = join(small, 'fs');
      mkdirSync(layerDir);
      const many = tar(...Array.from({ length: 30 }, (_, i) => file(`f${i}`, '')));
      expect((await unpack(many, many, { layerDir })).outcome).toBe('space');
    } finally {
      execFileSync('umount', [small]);
    }
  });
});

describe('unpackLayer() against other tools', () => {
  const umoci = needing('root', 'umoci');

  it('comes out as with GNU tar', async () => {
    const source = join(bench.top, 'source');
    makeVariety(source);
    for (const format of ['gnu', 'pax', 'ustar', 'v7', 'oldgnu']) {
      const options = [
        '--numeric-owner',
        `--format=${format}`,
        ...(format === 'pax' ? ['--xattrs'] : []),
        ...(format.includes('gnu') || format === 'pax' ? ['-S'] : []),
      ];
      const names =
        format === 'v7' || format === 'ustar'
          ? ['--exclude=long*', '--exclude=devices', '--exclude=fifo']
          : [];
      const archive = execFileSync('tar', ['-C', source, ...options, ...names, '-cf', '-', '.'], {
        maxBuffer: 1 << 30,
      });
      const expected = join(bench.top, `expected-${format}`);
      mkdirSync(expected);
      execFileSync(
        'tar',
        ['-C', expected, '--numeric-owner', '--xattrs', '--xattrs-include=*', '-xpf', '-'],
        { input: archive },
      );
      expect(await bench.treeOf(archive), format).toEqual(await describeTree(expected));
    }
  });

  umoci('comes out as with umoci', async () => {
    const source = join(bench.top, 'umoci-source');
    makeVariety(source);
    const layout = join(bench.top, 'layout');
    execFileSync('umoci', ['init', '--layout', layout]);
    execFileSync('umoci', ['new', '--image', `${layout}:new`]);
    execFileSync('umoci', ['unpack', '--image', `${layout}:new`, join(bench.top, 'bundle')]);
    execFileSync('cp', ['-a', `${source}/.`, join(bench.top, 'bundle', 'rootfs')]);
    execFileSync('umoci', ['repack', '--image', `${layout}:made`, join(bench.top, 'bundle')]);
    execFileSync('umoci', ['unpack', '--image', `${layout}:made`, join(bench.top, 'again')]);
    const { blob, content } = onlyLayer(layout);
    const { layer, outcome } = await unpack(blob, content);
    expect(outcome).toBe('ok');
    expect(await describeTree(layer)).toEqual(await describeTree(join(bench.top, 'again', 'rootfs')));
  });
});

/** The one gzip blob of a layout, and its content. */
function onlyLayer(layout: string): { blob: Buffer; content: Buffer } {
  const directoryOfBlobs = join(layout, 'blobs', 'sha256');
  for (const name of readdirSync(directoryOfBlobs)) {
    const blob = readFileSync(join(directoryOfBlobs, name));
    if (blob[0] === 0x1f)
      return { blob, content: execFileSync('gzip', ['-dc'], { input: blob, maxBuffer: 1 << 30 }) };
  }
  throw new Error('no layer');
}

/** A tree with one of everything that tar can carry. */
function makeVariety(root: string): void {
  mkdirSync(root);
  const script = `
    mkdir -p d/sub 'd/with space' empty; echo text > d/text; printf 'caf\\351' > "$(printf 'caf\\351')"
    chmod 2755 d; chown 5:6 d/text; chmod 4755 d/text; ln d/text hard; ln -s d/text link; ln -s /nowhere dangling
    mkfifo fifo; mkdir devices; mknod devices/null c 1 3; mknod devices/loop b 7 0; chmod 0 empty
    mkdir -p long/${'n'.repeat(120)}; echo x > long/${'n'.repeat(120)}/${'m'.repeat(200)}
    truncate -s 3M sparse; echo end >> sparse; echo start | dd of=sparse conv=notrunc status=none
    head -c 300000 /dev/urandom > random; : > zero; touch -d '1999-12-31 23:59:59' zero
    touch -d '2020-02-02 02:02:02' d/sub d link`;
  execFileSync('sh', ['-c', script], { cwd: root });
}
