import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { MEDIA_TYPE } from '../../src/oci/image-spec.ts';
import {
  type BuiltLayer,
  busyboxEntries,
  digestOf,
  HOST_ARCHITECTURE,
  imageOf,
  layerOf,
  tarOf,
  zstdStored,
} from '../harness/images.ts';
import { treeOfImage } from '../harness/pulling.ts';
import { needing } from '../harness/requires.ts';
import { type Seeded, seededSandbox } from '../harness/seed.ts';

const it = needing('root', 'overlay', 'busybox-static');

let box: Seeded;
let base: BuiltLayer;
beforeAll(async () => {
  box = await seededSandbox();
  base = await layerOf(busyboxEntries());
});
afterAll(() => box.dispose());

const FILES = [
  { name: './', type: 'directory' as const },
  { name: 'etc/', type: 'directory' as const },
  { name: 'etc/one', content: 'one'.repeat(5000), mode: 0o640 },
  { name: 'two', content: 'two'.repeat(70_000) },
  { name: 'three', type: 'symlink' as const, linkname: 'two' },
];
const TOC = JSON.stringify({ version: 1, entries: FILES.map(({ name }) => ({ name, type: 'reg' })) });

const layerFrom = (
  bytes: Buffer,
  tar: Buffer,
  how: { readonly mediaType: string; readonly annotations: Readonly<Record<string, string>> },
): BuiltLayer => ({
  bytes,
  diffId: digestOf(tar),
  descriptor: { ...how, digest: digestOf(bytes), size: bytes.length },
});

/** Cuts at multiples of 512, as writers of such layers do at the borders of members. */
const pieces = (tar: Buffer): Buffer[] => [
  tar.subarray(0, 1024),
  tar.subarray(1024, 20_480),
  tar.subarray(20_480),
];

/**
 * Members of gzip, a table of contents as the last file, and a footer that says where it begins.
 * @see https://github.com/containerd/stargz-snapshotter/blob/main/docs/estargz.md
 */
async function estargz(): Promise<BuiltLayer> {
  const landmark = { name: '.no.prefetch.landmark', content: '\x0f' };
  const tar = await tarOf([...FILES, landmark, { name: 'stargz.index.json', content: TOC }]);
  const members = Buffer.concat(pieces(tar).map((piece) => gzipSync(piece)));
  const offset = members.length.toString(16).padStart(16, '0');
  const extra = Buffer.from(`SG\x16\x00${offset}STARGZ`, 'latin1');
  const footer = Buffer.concat([
    Buffer.from([0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff, extra.length, 0]),
    extra,
    Buffer.from([1, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]),
  ]);
  expect(footer).toHaveLength(51);
  return layerFrom(Buffer.concat([members, footer]), tar, {
    mediaType: MEDIA_TYPE.ociLayerGzip,
    annotations: { 'containerd.io/snapshot/stargz/toc.digest': digestOf(TOC) },
  });
}

/**
 * Frames of zstd, then a manifest and a footer in frames that decoders skip.
 * @see https://github.com/containers/storage/blob/main/docs/containers-storage-zstd-chunked.md
 */
async function zstdChunked(): Promise<BuiltLayer> {
  const tar = await tarOf(FILES);
  const skipped = (content: Buffer): Buffer => {
    const head = Buffer.alloc(8);
    head.writeUInt32LE(0x184d2a50, 0);
    head.writeUInt32LE(content.length, 4);
    return Buffer.concat([head, content]);
  };
  const manifest = zstdStored(Buffer.from(TOC));
  const bytes = Buffer.concat([
    ...pieces(tar).map(zstdStored),
    skipped(manifest),
    skipped(Buffer.concat([Buffer.alloc(56), Buffer.from('GNUlInUx')])),
  ]);
  return layerFrom(bytes, tar, {
    mediaType: MEDIA_TYPE.ociLayerZstd,
    annotations: { 'io.github.containers.zstd-chunked.manifest-checksum': digestOf(manifest) },
  });
}

describe('layers made for lazy pulling are plain layers', () => {
  it.each([
    ['estargz', estargz, ['/stargz.index.json', '/.no.prefetch.landmark']],
    ['zstd:chunked', zstdChunked, []],
  ] as const)('%s', async (kind, make, more) => {
    const name = kind.replace(':', '-');
    const platform = { os: 'linux', architecture: HOST_ARCHITECTURE };
    await box.publish(imageOf({ layers: [base, await make()], platform }), name);
    await box.publish(imageOf({ layers: [base, await layerOf(FILES)], platform }), 'plain');
    await box.ok(['pull', '-q', name]);
    await box.ok(['pull', '-q', 'plain']);
    const [tree, plain] = [await treeOfImage(box, name), await treeOfImage(box, 'plain')];
    const extra = [...tree.keys()].filter((path) => !plain.has(path));
    expect(extra.map((path) => path.replace(/^(\.\/|\/)?/, '/')).sort()).toEqual([...more].sort());
    for (const path of extra) tree.delete(path);
    expect([...tree].sort()).toEqual([...plain].sort());
    expect(await box.ok(['run', '--rm', name, 'wc', '-c', '/etc/one', '/two'])).toMatch(
      /15000 .*\n *210000 /,
    );
  });
});
