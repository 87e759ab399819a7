import { execFileSync } from 'node:child_process';
import {
  closeSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { afterAll, describe, expect } from 'vitest';
import { type PackInput, type PackReport, packLayer } from '../../src/image/pack.ts';
import { directory, file, hardLink, member, pax, symlink, tar } from '../fixtures/tars.ts';
import { describeTree } from '../fixtures/trees.ts';
import { needing } from '../harness/requires.ts';
import { digestOf, makeUnpackBench, PACKER } from '../harness/unpacking.ts';

const it = needing('root');
const bench = makeUnpackBench();
let count = 0;

afterAll(bench.dispose);

async function pack(
  upper: string,
  changes: Partial<PackInput> = {},
): Promise<{ report: PackReport; blob: Buffer }> {
  const path = join(bench.top, `packed-${count++}`);
  const blobFd = openSync(path, 'wx');
  try {
    const report = await packLayer({ packer: PACKER, upper, blobFd, compression: 'gzip', ...changes });
    return { report, blob: readFileSync(path) };
  } finally {
    closeSync(blobFd);
  }
}

/** Whiteouts, and the root, which has no entry, have the time at which they were unpacked. */
function withoutTimesOfWhiteouts(tree: ReadonlyMap<string, string>): [string, string][] {
  return [...tree]
    .filter(([path]) => path !== '.')
    .map(([path, line]) => [
      path,
      line.startsWith('character-device') && line.endsWith('0:0') ? 'whiteout' : line,
    ]);
}

const LONG = `${'d'.repeat(120)}/${'f'.repeat(150)}`;

const EVERYTHING = tar(
  directory('a/', { mode: 0o2775, uid: 7, gid: 8 }),
  file('a/set-user-id', 'x', { mode: 0o4711, uid: 3_000_000, gid: 12 }),
  hardLink('a/second-name', 'a/set-user-id'),
  symlink('a/link', `../${'t'.repeat(180)}`),
  symlink('a/link2', '/etc/passwd', { uid: 4, gid: 5 }),
  pax([['path', `${LONG.slice(0, 120)}/`]]),
  directory('short/'),
  pax([['path', LONG]]),
  file('short', 'deep'),
  pax([
    ['SCHILY.xattr.user.note', 'a\0b\nc=d'],
    ['SCHILY.xattr.security.capability', Buffer.from('0100000200200000000000000000000000000000', 'hex')],
  ]),
  file('capable', 'program', { mode: 0o755 }),
  pax([['mtime', '-86400']]),
  file('before-1970', ''),
  pax([['SCHILY.xattr.user.of.directory', 'x'.repeat(2000)]]),
  directory('attributes/'),
  member({ name: 'character', type: '3', major: 5, minor: 300 }),
  member({ name: 'block', type: '4', major: 259, minor: 1, mode: 0o600, uid: 9 }),
  member({ name: 'fifo', type: '6' }),
  hardLink('fifo2', 'fifo'),
  directory('opaque/'),
  file('opaque/.wh..wh..opq'),
  file('opaque/new', 'new'),
  file('a/.wh.deleted'),
  file('.wh.top'),
  file('name with \xc3\xa4 and \xff', 'bytes'),
  file('large', Buffer.alloc(3_000_001, 'abc')),
);

describe('packLayer()', () => {
  it.each(['gzip', 'zstd', 'none'] as const)(
    'gives a layer that unpacks to the same tree (%s)',
    async (compression) => {
      const { layer: upper, outcome } = await bench.unpack(EVERYTHING);
      expect(outcome).toBe('ok');
      const { report, blob } = await pack(upper, { compression });
      expect(report).toMatchObject({ digest: digestOf(blob), size: blob.length, empty: false });
      const again = await bench.unpack(blob, blob, { diffId: report.diffId });
      expect(again.outcome).toBe('ok');
      expect(withoutTimesOfWhiteouts(await describeTree(again.layer))).toEqual(
        withoutTimesOfWhiteouts(await describeTree(upper)),
      );
    },
  );

  it('gives the same bytes whatever the number of threads and the order of the directory', async () => {
    const names = Array.from({ length: 500 }, (_, number) => `f${(number * 7919) % 500}`);
    const one = tar(...names.map((name) => file(name, `${name} `.repeat(3000))));
    const other = tar(...names.reverse().map((name) => file(name, `${name} `.repeat(3000))));
    const [first, second] = [await bench.unpack(one), await bench.unpack(other)];
    const [a, b] = [await pack(first.layer), await pack(second.layer)];
    expect(a.report).toEqual(b.report);
    expect(a.blob.equals(b.blob)).toBe(true);
    expect(digestOf(gunzipSync(a.blob))).toBe(a.report.diffId);
  });

  it('keeps holes', async () => {
    const { layer } = await bench.unpack(tar(directory('d/')));
    const fd = openSync(join(layer, 'd/sparse'), 'wx');
    writeSync(fd, 'start', 0);
    writeSync(fd, 'middle', 3_000_000_000);
    writeSync(fd, 'end', 6_000_000_000);
    closeSync(fd);
    const { report, blob } = await pack(layer);
    expect(report.bytes).toBeLessThan(100_000);
    const again = await bench.unpack(blob, blob, { diffId: report.diffId });
    expect(again.outcome).toBe('ok');
    const found = statSync(join(again.layer, 'd/sparse'));
    expect(found.size).toBe(6_000_000_003);
    expect(found.blocks).toBeLessThan(1000);
  });

  it('leaves out what is excluded, with directories that hold nothing else', async () => {
    const content = tar(
      directory('etc/'),
      file('etc/hosts'),
      directory('var/'),
      directory('var/run/'),
      directory('var/run/mount/'),
      directory('empty/'),
      directory('data/'),
      file('data/mine', 'x'),
      directory('data/mount/'),
    );
    const { layer } = await bench.unpack(content);
    const exclude = ['/etc/hosts', '/var/run/mount', '/data/mount/'];
    const { blob } = await pack(layer, { exclude, compression: 'none' });
    const { layer: again } = await bench.unpack(blob);
    expect([...(await describeTree(again)).keys()]).toEqual(['.', 'data', 'data/mine', 'empty']);
  });

  it('says that nothing was changed', async () => {
    const { layer } = await bench.unpack(tar(directory('etc/'), file('etc/hosts')));
    expect((await pack(layer, { exclude: ['/etc/hosts'] })).report.empty).toBe(true);
    expect((await pack(layer)).report.empty).toBe(false);
  });

  it('lets no time be later than the clamp', async () => {
    const { layer } = await bench.unpack(
      tar(file('old', '', { mtime: 5 }), file('new', '', { mtime: 2_000_000_000 })),
    );
    const { blob } = await pack(layer, { clampMtime: 1000, compression: 'none' });
    const { layer: again } = await bench.unpack(blob);
    const tree = await describeTree(again);
    expect([tree.get('old'), tree.get('new')].map((line) => line?.split(' ')[4])).toEqual(['5', '1000']);
  });

  it('leaves sockets out, and counts them', async () => {
    const { layer } = await bench.unpack(tar(file('f', 'x')));
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(join(layer, 'socket'), resolve));
    try {
      expect((await pack(layer)).report).toMatchObject({ skipped: 1, files: 1 });
    } finally {
      await new Promise((resolve) => server.close(resolve));
    }
  });

  it('refuses a file whose name means a deletion', async () => {
    const { layer } = await bench.unpack(tar(file('f', 'x')));
    renameSync(join(layer, 'f'), join(layer, '.wh.f'));
    await expect(pack(layer)).rejects.toMatchObject({
      kind: 'invalid',
      message: 'Cannot make a layer: ".wh.f" cannot be in a layer: there this name means a deletion',
    });
  });

  it('believes no mark that a program of the container can make', async () => {
    const marked = (name: string, value: string) => pax([[`SCHILY.xattr.${name}`, value]]);
    const archive = tar(
      pax([
        ['SCHILY.xattr.user.note', 'kept'],
        ['SCHILY.xattr.user.overlay.opaque', 'y'],
        ['SCHILY.xattr.trusted.overlay.origin', 'x'],
      ]),
      directory('d/'),
      marked('user.overlay.whiteout', 'y'),
      file('d/f'),
      marked('user.overlay.redirect', '/etc/shadow'),
      file('whole'),
    );
    // The unpacker refuses these: only a program inside could set them.
    const layer = join(bench.top, 'forged');
    mkdirSync(layer);
    execFileSync('tar', ['-C', layer, '--xattrs', '--xattrs-include=*', '-xf', '-'], { input: archive });
    expect((await describeTree(layer)).get('whole')).toContain('user.overlay.redirect');
    const { blob } = await pack(layer, { compression: 'none' });
    const { layer: again } = await bench.unpack(blob);
    const tree = await describeTree(again);
    expect([...tree.keys()]).toEqual(['.', 'd', 'd/f', 'whole']);
    expect(tree.get('d')).toContain('{user.note=');
    expect([...tree.values()].join(' ')).not.toContain('overlay');
  });

  it('reads nothing outside the tree', async () => {
    const { layer } = await bench.unpack(tar(directory('d/')));
    writeFileSync(join(bench.top, 'secret'), 'a secret that is not packed');
    symlinkSync(join(bench.top, 'secret'), join(layer, 'd/link'));
    symlinkSync('../../../..', join(layer, 'up'));
    const { blob, report } = await pack(layer, { compression: 'none' });
    expect(report.files).toBe(3);
    expect(blob.includes('a secret that is not packed')).toBe(false);
  });

  it('names a directory that is missing', async () => {
    await expect(pack(join(bench.top, 'missing'))).rejects.toMatchObject({ kind: 'not_found' });
  });
});
