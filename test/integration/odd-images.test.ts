import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import type { ProcessDefaults } from '../../src/oci/image-spec.ts';
import { MEDIA_TYPE } from '../../src/oci/image-spec.ts';
import { describeTree } from '../fixtures/trees.ts';
import {
  type BuiltImage,
  type BuiltLayer,
  busyboxEntries,
  digestOf,
  HOST_ARCHITECTURE,
  imageOf,
  layerOf,
  writeLayout,
  zstdStored,
} from '../harness/images.ts';
import { treeOfImage } from '../harness/pulling.ts';
import { needing } from '../harness/requires.ts';
import { show } from '../harness/sandbox.ts';
import { type Seeded, seededSandbox } from '../harness/seed.ts';

const it = needing('root', 'overlay', 'docker-registry', 'busybox-static', 'umoci');
const HOST = { os: 'linux', architecture: HOST_ARCHITECTURE };

let box: Seeded;
let base: BuiltLayer;
beforeAll(async () => {
  box = await seededSandbox();
  base = await layerOf(busyboxEntries());
});
afterAll(() => box.dispose());

const runs = (name: string, ...command: string[]): Promise<string> =>
  box.ok(['run', '--rm', '--network', 'none', name, ...command]);

async function published(
  name: string,
  layers: readonly BuiltLayer[],
  config: ProcessDefaults = {},
): Promise<BuiltImage> {
  const image = imageOf({ layers: [base, ...layers], platform: HOST, config });
  await box.publish(image, name);
  await box.ok(['pull', '-q', name]);
  return image;
}

/** What umoci makes of an image, as describeTree() has it. */
async function umociTree(image: BuiltImage): Promise<Map<string, string>> {
  const directory = mkdtempSync(join(box.directory, 'umoci-'));
  try {
    writeLayout(join(directory, 'layout'), { it: image });
    const bundle = join(directory, 'bundle');
    const unpacked = await box.host([
      'umoci',
      'unpack',
      '--image',
      `${join(directory, 'layout')}:it`,
      bundle,
    ]);
    expect(unpacked.code, show(unpacked)).toBe(0);
    return await describeTree(join(bundle, 'rootfs'));
  } finally {
    rmSync(directory, { recursive: true });
  }
}

async function sameAsUmoci(name: string, image: BuiltImage): Promise<void> {
  const [found, expected] = [await treeOfImage(box, name), await umociTree(image)];
  expect(Object.fromEntries(found)).toEqual(Object.fromEntries(expected));
}

describe('an image of real packages', () => {
  it('comes out as umoci unpacks it, and runs', async () => {
    // The files of Debian packages that are installed here: documentation, links, programs, of many modes and times.
    const files = ['coreutils', 'libc-bin', 'tar', 'passwd']
      .flatMap((name) => execFileSync('dpkg', ['-L', name], { encoding: 'utf8' }).trim().split('\n'))
      .filter((path) => path !== '/.');
    const list = join(box.directory, 'files');
    writeFileSync(list, [...new Set(files)].join('\n'));
    const options = ['--no-recursion', '--ignore-failed-read', '--xattrs', '--format=pax', '--sort=name'];
    execFileSync('tar', ['-C', '/', ...options, '-cf', `${list}.tar`, '-T', list, '--transform=s,^/,,'], {
      stdio: ['ignore', 'ignore', 'ignore'],
    });
    const layers = [
      await layerOf(readFileSync(`${list}.tar`)),
      await layerOf([
        { name: './', type: 'directory', mtime: 5 },
        { name: 'busybox', content: readFileSync('/bin/busybox'), mode: 0o755 },
      ]),
    ];
    const image = imageOf({ layers, platform: HOST });
    await box.publish(image, 'packages');
    await box.ok(['pull', '-q', 'packages']);
    await sameAsUmoci('packages', image);
    expect(await runs('packages', '/busybox', 'cat', '/usr/share/doc/tar/copyright')).toContain('GNU');
  });
});

describe('layers of every shape', () => {
  it('three hundred of them run', async () => {
    const layers = await Promise.all(
      Array.from({ length: 299 }, (_, n) =>
        layerOf([
          { name: `n/${n}`, content: String(n) },
          { name: 'top', content: String(n) },
        ]),
      ),
    );
    const image = await published('tower', layers);
    expect(await runs('tower', 'sh', '-c', 'cat /top; ls /n | wc -l')).toBe('298299');
    expect(image.blobs.size).toBe(302);
    await box.ok(['rmi', 'tower']);
  });

  it('empty ones, of no entry, of zeros only, and the same twice', async () => {
    const empty = await layerOf([]);
    const zeros = await layerOf(Buffer.alloc(10_240));
    const nothing = await layerOf(Buffer.alloc(0), 'none');
    await published('empty-layers', [empty, zeros, empty, nothing]);
    expect(await runs('empty-layers', 'echo', 'runs')).toBe('runs');
  });

  it('with hard links into the layers below', async () => {
    const image = await published('linked', [
      await layerOf([{ name: 'data/file', content: 'shared', mode: 0o640, uid: 5, gid: 6, mtime: 77 }]),
      await layerOf([
        { name: 'data/', type: 'directory', mtime: 9 },
        { name: 'data/second', type: 'link', linkname: 'data/file' },
      ]),
      await layerOf([{ name: 'third', type: 'link', linkname: 'data/second' }]),
    ]);
    // As where each layer is written through the overlay of those below: the last link copies the file up once more.
    const script = 'cat /third; stat -c "%h %a %u:%g %Y" /third /data/second /data/file';
    const lines = ['shared2 640 5:6 77', '2 640 5:6 77', '2 640 5:6 77'];
    expect(await runs('linked', 'sh', '-c', script)).toBe(lines.join('\n'));
    expect(image.blobs.size).toBe(6);
    expect(await box.ok(['system', 'check'])).toContain('no damage');
  });

  it('of several gzip members and zstd frames, and called what they are not', async () => {
    const whole = await layerOf([{ name: 'pieces', content: 'in pieces '.repeat(50_000) }], 'none');
    const half = 200_000;
    const parts = [whole.bytes.subarray(0, half), whole.bytes.subarray(half)];
    const of = (bytes: Buffer, mediaType: string): BuiltLayer => ({
      bytes,
      diffId: whole.diffId,
      descriptor: { mediaType, digest: digestOf(bytes), size: bytes.length },
    });
    const gzip = Buffer.concat(parts.map((part) => gzipSync(part)));
    const zstd = Buffer.concat(parts.map((part) => zstdStored(Buffer.from(part))));
    const shapes: readonly (readonly [string, BuiltLayer])[] = [
      ['gzip-members', of(gzip, MEDIA_TYPE.ociLayerGzip)],
      ['zstd-frames', of(zstd, MEDIA_TYPE.ociLayerZstd)],
      ['zstd-called-gzip', of(zstd, MEDIA_TYPE.ociLayerGzip)],
      ['gzip-called-plain', of(gzip, MEDIA_TYPE.ociLayer)],
      ['plain-called-gzip', of(whole.bytes, MEDIA_TYPE.ociLayerGzip)],
    ];
    for (const [name, layer] of shapes) {
      await published(name, [layer]);
      expect(await runs(name, 'sh', '-c', 'wc -c < /pieces'), name).toBe('500000');
      // Else the next one finds the layer unpacked.
      await box.ok(['rmi', name]);
    }
  });

  it('that delete, hide and replace, whatever the order of their entries', async () => {
    const lower = await layerOf([
      { name: 'd/', type: 'directory', mtime: 1 },
      { name: 'd/a', content: 'a', mtime: 2 },
      { name: 'd/b', content: 'b', mtime: 3 },
      { name: 'o/', type: 'directory', mtime: 4 },
      { name: 'o/old', content: 'x', mtime: 5 },
      { name: 'file', content: 'x', mtime: 6 },
      { name: 'link', type: 'symlink', linkname: 'd', mtime: 7 },
      { name: 'tree/', type: 'directory', mtime: 8 },
      { name: 'tree/deep/', type: 'directory', mtime: 9 },
      { name: 'tree/deep/x', content: 'x', mtime: 10 },
    ]);
    const upper = await layerOf([
      { name: './', type: 'directory', mtime: 20 },
      // The marker after what it must not hide.
      { name: 'o/', type: 'directory', mode: 0o700, mtime: 21 },
      { name: 'o/new', content: 'y', mtime: 22 },
      { name: 'o/.wh..wh..opq', mtime: 23 },
      { name: 'd/', type: 'directory', mode: 0o711, uid: 3, gid: 4, mtime: 24 },
      { name: 'd/.wh.a', mtime: 25 },
      { name: 'file/', type: 'directory', mtime: 26 },
      { name: 'link', content: 'a file now', mtime: 27 },
      { name: 'tree', type: 'symlink', linkname: 'd', mtime: 28 },
    ]);
    const image = await published('rules', [lower, upper]);
    await sameAsUmoci('rules', image);
    expect(await runs('rules', 'sh', '-c', 'ls /d /o; cat /link; readlink /tree')).toBe(
      '/d:\nb\n\n/o:\nnew\na file nowd',
    );
  });
});

describe('configs of every shape', () => {
  const shapes: readonly (readonly [
    name: string,
    config: ProcessDefaults,
    command: readonly string[],
    output: string,
  ])[] = [
    ['cmd', { Cmd: ['echo', 'cmd'] }, [], 'cmd'],
    ['cmd-replaced', { Cmd: ['echo', 'cmd'] }, ['echo', 'mine'], 'mine'],
    ['entrypoint', { Entrypoint: ['echo', 'entry'], Cmd: ['cmd'] }, [], 'entry cmd'],
    ['entrypoint-and-args', { Entrypoint: ['echo', 'entry'], Cmd: ['cmd'] }, ['mine'], 'entry mine'],
    [
      'shell-form',
      { Entrypoint: ['/bin/sh', '-c', 'echo $0 $WHO'], Env: ['WHO=me', 'PATH=/bin'] },
      [],
      '/bin/sh me',
    ],
    [
      'env-odd',
      {
        Env: ['PATH=/bin', 'EMPTY=', 'EQUALS=a=b', 'SPACE=a b'],
        Cmd: ['sh', '-c', 'echo "[$EMPTY][$EQUALS][$SPACE]"'],
      },
      [],
      '[][a=b][a b]',
    ],
    ['user-name', { User: 'www-data', Cmd: ['id', '-un'] }, [], 'www-data'],
    ['user-numbers', { User: '1234:5678', Cmd: ['sh', '-c', 'echo $(id -u):$(id -g)'] }, [], '1234:5678'],
    ['user-and-group', { User: 'daemon:users', Cmd: ['sh', '-c', 'echo $(id -u):$(id -g)'] }, [], '1:100'],
    ['workdir', { WorkingDir: '/made/for/me', Cmd: ['pwd'] }, [], '/made/for/me'],
    [
      'health',
      { Healthcheck: { Test: ['CMD-SHELL', 'true'], Interval: 30_000_000_000 }, Cmd: ['echo', 'checked'] },
      [],
      'checked',
    ],
    ['health-none', { Healthcheck: { Test: ['NONE'] }, Cmd: ['echo', 'unchecked'] }, [], 'unchecked'],
    [
      'ports-and-volumes',
      { ExposedPorts: { '80/tcp': {} }, Labels: { a: 'b' }, Cmd: ['echo', 'exposed'] },
      [],
      'exposed',
    ],
  ];
  for (const [name, config, command, output] of shapes) {
    it(name, async () => {
      await published(`config-${name}`, [], config);
      expect(await runs(`config-${name}`, ...command)).toBe(output);
    });
  }
});
