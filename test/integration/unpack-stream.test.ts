import { execFileSync } from 'node:child_process';
import {
  closeSync,
  fstatSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, describe, expect } from 'vitest';
import { isUnpackError } from '../../src/image/unpack.ts';
import { flipped, LAYER, noise } from '../fixtures/sample-layer.ts';
import { directory, file, hardLink, pax, symlink, tar } from '../fixtures/tars.ts';
import { describeTree } from '../fixtures/trees.ts';
import { needing } from '../harness/requires.ts';
import { digestOf, makeUnpackBench, piecesOf } from '../harness/unpacking.ts';

const it = needing('root');
const bench = makeUnpackBench();
const { unpack } = bench;

afterAll(bench.dispose);

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

  it('follows a file that the caller writes', async () => {
    const path = join(bench.top, 'growing');
    const fd = openSync(path, 'w+');
    const grow = (to: number): void => {
      const from = fstatSync(fd).size;
      writeSync(fd, blob, from, to - from, from);
    };
    async function* arriving(end: number): AsyncGenerator<number> {
      yield fstatSync(fd).size;
      for (let to = 1; to < end; to += 33_333) {
        grow(to);
        yield to;
        if (to % 5 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
      }
      grow(end);
      yield end;
    }
    const descriptor = { mediaType: '', digest: digestOf(blob), size: blob.length };
    try {
      const input = { blobFd: fd, have: 0, descriptor, diffId: digestOf(LAYER) };
      expect(
        (await unpack(Buffer.alloc(0), LAYER, { ...input, arrived: arriving(blob.length) })).outcome,
      ).toBe('ok');
      ftruncateSync(fd);
      expect(
        (await unpack(Buffer.alloc(0), LAYER, { ...input, arrived: arriving(blob.length - 1) })).outcome,
      ).toBe('size');
      async function* broken(): AsyncGenerator<number> {
        yield 1000;
        throw new Error('connection reset');
      }
      expect((await unpack(Buffer.alloc(0), LAYER, { ...input, arrived: broken() })).outcome).toBe(
        'Error: connection reset',
      );
      expect(readFileSync(path).equals(blob.subarray(0, -1))).toBe(true);
    } finally {
      closeSync(fd);
    }
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
