import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, describe, expect } from 'vitest';
import { brokenTars, hostileTars } from '../fixtures/hostile-tars.ts';
import {
  directory,
  file,
  gnuLong,
  hardLink,
  header,
  member,
  oldGnuSparse,
  pax,
  symlink,
  tar,
} from '../fixtures/tars.ts';
import { describeTree } from '../fixtures/trees.ts';
import { needing } from '../harness/requires.ts';
import { makeUnpackBench } from '../harness/unpacking.ts';

const it = needing('root');
const bench = makeUnpackBench();
const { unpack, treeOf } = bench;

afterAll(bench.dispose);

describe('unpackLayer() hostile layers', () => {
  for (const { what, bytes, outcome } of [...hostileTars(bench.canary), ...brokenTars()]) {
    it(what, async () => {
      const before = await describeTree(bench.canary);
      const blob = gzipSync(bytes);
      const unpacked = await unpack(blob, bytes);
      expect(unpacked.outcome).toBe(outcome === 'harmless' ? 'ok' : outcome);
      expect(await describeTree(bench.canary)).toEqual(before);
      // A layer that is bad is downloaded whole all the same: its digest tells whose fault it is.
      expect(unpacked.blob).toEqual(blob);
    });
  }
});

describe('unpackLayer() layer rules', () => {
  it('types, modes, owners and times', async () => {
    const tree = await treeOf(
      tar(
        directory('./', { mode: 0o750, uid: 7, gid: 8, mtime: 5 }),
        directory('d/', { mode: 0o2755, gid: 50, mtime: 1 }),
        file('d/in-setgid', 'x', { mode: 0o600 }),
        directory('d/sub', { mtime: 2 }),
        file('suid', 'x', { mode: 0o6755, uid: 1, gid: 2 }),
        directory('sticky', { mode: 0o1777 }),
        directory('closed', { mode: 0 }),
        file('closed/x', 'x', { mode: 0 }),
        symlink('link', '/etc/passwd', { uid: 9, mtime: 3 }),
        member({ name: 'null', type: '3', major: 1, minor: 3, mode: 0o666 }),
        member({ name: 'disk', type: '4', major: 259, minor: 300_000, mode: 0o660, gid: 6 }),
        member({ name: 'fifo', type: '6', mode: 0o622 }),
        file('large-ids', '', { uid: 4_000_000_000, gid: 3_000_000_000 }),
        file('before-1970', '', { mtime: -100 }),
      ),
    );
    expect(Object.fromEntries(tree)).toMatchObject({
      '.': 'directory 0750 7:8 0 5',
      d: 'directory 2755 0:50 0 1',
      'd/in-setgid': expect.stringMatching(/^file 0600 0:0 1 1000000000 /),
      'd/sub': 'directory 0755 0:0 0 2',
      suid: expect.stringMatching(/^file 6755 1:2 /),
      sticky: 'directory 1777 0:0 0 1000000000',
      closed: 'directory 0000 0:0 0 1000000000',
      'closed/x': expect.stringMatching(/^file 0000 /),
      link: 'symlink 0777 9:0 0 3 -> /etc/passwd',
      null: 'character-device 0666 0:0 0 1000000000 1:3',
      disk: 'block-device 0660 0:6 0 1000000000 259:300000',
      fifo: 'fifo 0622 0:0 0 1000000000',
      'large-ids': 'file 0644 4000000000:3000000000 0 1000000000',
      'before-1970': expect.stringContaining(' -100'),
    });
  });

  it('a layer without an entry for its root gets 0755', async () => {
    expect((await treeOf(tar(file('a/b/c', 'x')))).get('.')).toMatch(/^directory 0755 0:0 /);
  });

  it('missing parents are made, 0755 and root', async () => {
    const tree = await treeOf(tar(file('a/b/c', 'x', { uid: 5 })));
    expect(tree.get('a/b')).toMatch(/^directory 0755 0:0 /);
  });

  it('names: absolute, ./, //, V7, ustar prefix, GNU long, pax, not UTF-8', async () => {
    const long = 'n'.repeat(200);
    const { layer } = await unpack(
      tar(
        file('/absolute', ''),
        file('.//a/./b//c', ''),
        member({ name: 'v7/', type: '\0', format: 'v7', mode: 0o755 }),
        member({ name: 'v7/file', type: '\0', format: 'v7' }, 'x'),
        file('leaf', '', { prefix: 'prefixed/by' }),
        gnuLong('L', `gnu/${long}`),
        gnuLong('K', `to/${long}`),
        symlink('short', 'short', { format: 'gnu' }),
        pax([
          ['path', `pax/${long}`],
          ['linkpath', `to/${long}`],
        ]),
        symlink('short', 'short'),
        file(Buffer.from('caf\xe9', 'latin1'), ''),
        pax([['path', '\xc3\xa4']]),
        file('x', ''),
      ),
    );
    const tree = await describeTree(layer);
    expect([...tree.keys()]).toEqual(
      expect.arrayContaining(['absolute', 'a/b/c', 'v7', 'v7/file', 'prefixed/by/leaf', '\xe4']),
    );
    expect(readdirSync(layer, 'latin1')).toContain('caf\xe9');
    expect(tree.get(`gnu/${long}`)).toContain(`-> to/${long}`);
    expect(tree.get(`pax/${long}`)).toContain(`-> to/${long}`);
  });

  it('pax: size, ids, times with nanoseconds, attributes in both spellings', async () => {
    const tree = await treeOf(
      tar(
        pax([
          ['size', '3'],
          ['uid', '70000'],
          ['gid', '4294967294'],
          ['mtime', '1234567890.123456789'],
        ]),
        member({ name: 'x', size: 0 }, ''),
        Buffer.concat([Buffer.from('abc'), Buffer.alloc(509)]),
        pax([['mtime', '-1.5']]),
        file('early', ''),
        pax([
          ['SCHILY.xattr.user.a', 'one\ntwo\0three'],
          [
            'LIBARCHIVE.xattr.user.%62',
            Buffer.from('binary\xff\0', 'latin1').toString('base64').replace(/=+$/, ''),
          ],
        ]),
        file('attributes', ''),
        pax([
          [
            'SCHILY.xattr.security.capability',
            Buffer.from('0100000200040000000000000000000000000000', 'hex'),
          ],
        ]),
        file('ping', 'x', { uid: 1, mode: 0o755 }),
        pax([['comment', 'nothing']], 'g'),
        file('after-global', ''),
      ),
    );
    expect(tree.get('x')).toMatch(/^file 0644 70000:4294967294 3 1234567890\.123456789 /);
    expect(tree.get('early')).toContain(' -1.5');
    expect(tree.get('attributes')).toContain(
      `{user.a=${Buffer.from('one\ntwo\0three').toString('hex')} user.b=`,
    );
    expect(tree.get('ping')).toContain('{security.capability=01000002');
    expect(tree.has('after-global')).toBe(true);
  });

  it('whiteouts become devices 0/0, opaque directories an attribute, also after their siblings', async () => {
    const { layer, report } = await unpack(
      tar(
        file('.wh.gone', ''),
        directory('before'),
        file('before/.wh..wh..opq', ''),
        file('before/x', 'x'),
        directory('after'),
        file('after/x', 'x'),
        file('after/.wh..wh..opq', ''),
        file('implied/.wh.x', ''),
        file('.wh..wh.plnk/1', 'x'),
        file('.wh..wh.aufs', 'x'),
      ),
    );
    const tree = await describeTree(layer);
    expect(tree.get('gone')).toMatch(/^character-device 0000 .* 0:0$/);
    expect(tree.get('implied/x')).toMatch(/^character-device /);
    expect(tree.get('before')).toContain('{trusted.overlay.opaque=79}');
    expect(tree.get('after')).toContain('{trusted.overlay.opaque=79}');
    expect(tree.has('after/x') && tree.has('before/x')).toBe(true);
    expect([...tree.keys()].filter((name) => name.includes('.wh.'))).toEqual([]);
    expect(report?.opaqueRoot).toBe(false);
  });

  it('a whiteout and an entry of the same name: the entry stays, whichever is first', async () => {
    const tree = await treeOf(
      tar(
        file('f1', 'x'),
        file('.wh.f1', ''),
        file('.wh.f2', ''),
        file('f2', 'x'),
        directory('d1'),
        file('d1/x', 'x'),
        file('.wh.d1', ''),
        file('.wh.d2', ''),
        directory('d2'),
        file('.wh.d3', ''),
        file('d3/x', 'x'),
      ),
    );
    expect(tree.get('f1')).toMatch(/^file /);
    expect(tree.get('f2')).toMatch(/^file /);
    // What the layers below have in a deleted directory must not shine through the new one.
    for (const name of ['d1', 'd2', 'd3']) expect(tree.get(name)).toMatch(/^directory .*opaque=79/);
    expect(tree.has('d1/x') && tree.has('d3/x')).toBe(true);
  });

  it('an opaque root is reported', async () => {
    const { report } = await unpack(tar(file('.wh..wh..opq', ''), file('x', 'x')));
    expect(report).toMatchObject({ opaqueRoot: true });
  });

  it('the later of two entries wins; only directories merge', async () => {
    const tree = await treeOf(
      tar(
        file('f', 'first'),
        hardLink('hard', 'f'),
        file('f', 'second!'),
        directory('d', { mode: 0o2775, uid: 1, mtime: 1 }),
        file('d/x', 'x'),
        directory('d', { mode: 0o700, uid: 2, mtime: 2 }),
        directory('was-directory'),
        directory('was-directory/deep'),
        file('was-directory/deep/x', 'x'),
        file('was-directory', 'now a file', { mtime: 77 }),
        symlink('was-link', 'd'),
        directory('was-link', { mtime: 7 }),
        file('was-link/x', 'x'),
        file('now-directory', 'x'),
        directory('now-directory', { mtime: 8 }),
      ),
    );
    expect(tree.get('f')).toContain(' 7 ');
    expect(tree.get('hard')).toContain(' 5 ');
    expect(tree.get('d')).toBe('directory 0700 2:0 0 2');
    expect(tree.has('d/x')).toBe(true);
    expect(tree.get('was-directory')).toMatch(/^file 0644 0:0 10 77 /);
    expect(tree.get('was-link')).toBe('directory 0755 0:0 0 7 {trusted.overlay.opaque=79}');
    expect(tree.has('was-link/x')).toBe(true);
    // The file hid what the layers below have there, and still does.
    expect(tree.get('now-directory')).toBe('directory 0755 0:0 0 8 {trusted.overlay.opaque=79}');
  });

  it('entries through a symlink of the layer land at its target, also where that comes later', async () => {
    const tree = await treeOf(
      tar(
        directory('usr'),
        directory('usr/lib'),
        symlink('lib', 'usr/lib'),
        file('lib/x', 'x'),
        symlink('bin', '/usr/bin'),
        file('bin/sh', 'x'),
        symlink('up', '../../../usr/./deep/../other'),
        file('up/y', 'y'),
      ),
    );
    expect([...tree.keys()]).toEqual(expect.arrayContaining(['usr/lib/x', 'usr/bin/sh', 'usr/other/y']));
    expect(tree.get('lib')).toContain('-> usr/lib');
  });

  it('hard links', async () => {
    const { layer } = await unpack(
      tar(
        directory('a'),
        file('a/1', 'content', { mode: 0o4755, uid: 3 }),
        hardLink('2', 'a/1'),
        hardLink('a/3', '/./a/1'),
        hardLink('2', 'a/1'),
        hardLink('a/1', 'a/1'),
        symlink('s', 'nowhere'),
        hardLink('t', 's'),
      ),
    );
    const inode = (name: string): string =>
      execFileSync('stat', ['-c', '%i %h', join(layer, name)], { encoding: 'utf8' });
    expect(inode('a/1')).toBe(inode('2'));
    expect(inode('a/1')).toBe(inode('a/3'));
    expect(inode('s')).toBe(inode('t'));
  });

  it('sparse files in the four ways of GNU tar', async () => {
    const hole = 1 << 20;
    const map = `2\n0\n3\n${hole}\n4\n`;
    const content = Buffer.concat([Buffer.from(map), Buffer.alloc(512 - map.length), Buffer.from('abcdefg')]);
    const { layer } = await unpack(
      tar(
        oldGnuSparse('old', hole + 100, [
          [0, 'abc'],
          [hole, 'defg'],
        ]),
        oldGnuSparse(
          'many',
          60 * 4096,
          Array.from({ length: 50 }, (_, i) => [i * 4096, `${i}`.padEnd(10)] as const),
        ),
        pax([
          ['GNU.sparse.size', String(hole + 4)],
          ['GNU.sparse.numblocks', '2'],
          ['GNU.sparse.offset', '0'],
          ['GNU.sparse.numbytes', '3'],
          ['GNU.sparse.offset', String(hole)],
          ['GNU.sparse.numbytes', '4'],
        ]),
        file('v00', 'abcdefg'),
        pax([
          ['GNU.sparse.name', 'v01'],
          ['GNU.sparse.size', String(hole + 4)],
          ['GNU.sparse.map', `0,3,${hole},4`],
        ]),
        file('GNUSparseFile.0/v01', 'abcdefg'),
        pax([
          ['GNU.sparse.major', '1'],
          ['GNU.sparse.minor', '0'],
          ['GNU.sparse.name', 'v10'],
          ['GNU.sparse.realsize', String(hole + 4)],
        ]),
        file('GNUSparseFile.0/v10', content),
        file('after', 'x'),
      ),
    );
    const expected = Buffer.concat([Buffer.from('abc'), Buffer.alloc(hole - 3), Buffer.from('defg')]);
    expect(readFileSync(join(layer, 'old'))).toEqual(Buffer.concat([expected, Buffer.alloc(96)]));
    for (const name of ['v00', 'v01', 'v10'])
      expect(readFileSync(join(layer, name)).equals(expected)).toBe(true);
    const many = readFileSync(join(layer, 'many'));
    expect(many.length).toBe(60 * 4096);
    expect(many.subarray(49 * 4096, 49 * 4096 + 10).toString()).toBe('49'.padEnd(10));
    expect(readFileSync(join(layer, 'after'), 'utf8')).toBe('x');
  });

  it('default ACLs and setgid bits are not inherited by what the layer brings', async () => {
    const entryOf = (tag: number, permission: number): Buffer => {
      const bytes = Buffer.alloc(8, 0xff);
      bytes.writeUInt16LE(tag, 0);
      bytes.writeUInt16LE(permission, 2);
      return bytes;
    };
    const value = Buffer.concat([Buffer.from([2, 0, 0, 0]), entryOf(1, 7), entryOf(4, 7), entryOf(32, 7)]);
    const tree = await treeOf(
      tar(
        pax([['SCHILY.xattr.system.posix_acl_default', value]]),
        directory('d', { mode: 0o2755, gid: 9 }),
        file('d/x', 'x', { mode: 0o640 }),
        directory('d/e', { mode: 0o711 }),
      ),
    );
    expect(tree.get('d')).toContain('system.posix_acl_default');
    expect(tree.get('d/x')).toMatch(/^file 0640 0:0 /);
    expect(tree.get('d/e')).toBe('directory 0711 0:0 0 1000000000');
  });

  it('an archive without end blocks, with one, with garbage behind, and an empty one', async () => {
    const one = file('x', 'x');
    for (const bytes of [
      one,
      Buffer.concat([one, Buffer.alloc(512)]),
      Buffer.concat([tar(one), Buffer.from('garbage')]),
    ]) {
      expect((await treeOf(bytes)).get('x')).toMatch(/^file /);
    }
    expect([...(await treeOf(tar())).keys()]).toEqual(['.']);
    expect([...(await treeOf(Buffer.alloc(0))).keys()]).toEqual(['.']);
  });

  it('30,000 directories keep their times', async () => {
    const members: Buffer[] = [];
    for (let i = 0; i < 300; i += 1) {
      members.push(directory(`d${i}`, { mtime: i }));
      for (let j = 0; j < 100; j += 1) members.push(directory(`d${i}/e${j}`, { mtime: i * 100 + j }));
    }
    const tree = await treeOf(tar(...members));
    expect(tree.get('d7')).toBe('directory 0755 0:0 0 7');
    expect(tree.get('d299/e99')).toBe('directory 0755 0:0 0 29999');
  });

  it('a path 1,000 directories deep is made, and replaced', async () => {
    const deep = 'd/'.repeat(1000);
    const tree = await treeOf(
      tar(gnuLong('L', `${deep}x`), file('x', 'x'), file('d', 'y'), header({ name: 'e', type: '5' })),
    );
    expect(tree.get('d')).toMatch(/^file /);
  });
});
