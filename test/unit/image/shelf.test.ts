import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Paths, pathsOf } from '../../../src/disk/paths.ts';
import { writableShelf } from '../../../src/image/shelf.ts';
import { openStore } from '../../../src/image/store.ts';
import type { Digest } from '../../../src/oci/digest.ts';
import { parseServedManifest } from '../../../src/registry/server/served-manifest.ts';
import type { ShelfWriter } from '../../../src/registry/server/shelf.ts';
import { imageOf, layerOf } from '../../harness/images.ts';
import { HOST, noise } from './store-fixture.ts';

const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';

let root: string;
let paths: Paths;
let writer: ShelfWriter;
let removals: number;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'tinyrun-shelf-'));
  paths = pathsOf({ root, runRoot: join(root, 'run') });
  removals = 0;
  const onRemoved = (): void => void removals++;
  const shelf = writableShelf({ paths, host: HOST, pushedOnly: true, inUse: () => [], onRemoved });
  if (shelf.writer === undefined) throw new Error('no writer');
  writer = shelf.writer;
});
afterEach(async () => {
  await writer.close();
  rmSync(root, { recursive: true, force: true });
});

const digestOf = (bytes: Uint8Array): Digest =>
  `sha256:${createHash('sha256').update(bytes).digest('hex')}` as Digest;

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

async function putBlob(bytes: Uint8Array): Promise<void> {
  const upload = writer.begin();
  await upload?.append(once(bytes), 0);
  expect(await upload?.finish(digestOf(bytes))).toBe(true);
}

async function putManifest(bytes: Buffer, ...tags: string[]): Promise<Digest> {
  const digest = digestOf(bytes);
  await writer.putManifest({ repository: 'a/b', tags, digest, bytes, manifest: parseServedManifest(bytes) });
  return digest;
}

describe('writableShelf()', () => {
  it('keeps everything below what was pushed, and nothing for the sake of what is about it', async () => {
    const layer = await layerOf(Buffer.from(noise(12 << 20)), 'none');
    const image = imageOf({ layers: [layer] });
    for (const [digest, bytes] of image.blobs) {
      if (digest !== image.target.descriptor.digest) await putBlob(bytes);
    }
    const digest = await putManifest(image.target.bytes, '1');
    const config = Buffer.from('{}');
    await putBlob(config);
    const note = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: MANIFEST,
        artifactType: 'text/note',
        config: { mediaType: 'application/vnd.oci.empty.v1+json', digest: digestOf(config), size: 2 },
        layers: [],
        subject: image.target.descriptor,
      }),
    );
    await putManifest(note);
    const store = openStore(paths, HOST);
    const collected = (): Promise<boolean> => store.collect(() => []);
    await writer.reserve();
    expect(await collected(), 'while a push is under way').toBe(false);
    await writer.close();
    expect(await collected()).toBe(true);
    expect(readdirSync(paths.blobs)).toHaveLength(5);
    expect(await writer.removeManifest('a/b', digest)).toBe('removed');
    expect(removals).toBe(1);
    expect(await collected()).toBe(true);
    expect(readdirSync(paths.blobs).sort()).toEqual(
      [digestOf(config), digestOf(note)].map((one) => one.slice(7)).sort(),
    );
  });

  it('has the bytes of an upload that another server began', async () => {
    const bytes = Buffer.from('0123456789');
    const upload = writer.begin();
    await upload?.append(once(bytes.subarray(0, 4)), undefined);
    const other = writableShelf({
      paths,
      host: HOST,
      pushedOnly: true,
      inUse: () => [],
      onRemoved: () => {},
    });
    const resumed = await other.writer?.upload(upload?.id ?? '');
    expect(await resumed?.offset()).toBe(4);
    expect(await resumed?.append(once(bytes.subarray(5)), 5)).toBe(false);
    expect(await resumed?.append(once(bytes.subarray(4)), 4)).toBe(true);
    expect(await resumed?.finish(digestOf(bytes))).toBe(true);
    expect(existsSync(paths.blob(digestOf(bytes)))).toBe(true);
    expect(readdirSync(paths.ingest)).toEqual([]);
  });

  it('does not begin more uploads than it can hold', () => {
    const begun = Array.from({ length: 1001 }, () => writer.begin());
    expect(begun[999]).toBeDefined();
    expect(begun[1000]).toBeUndefined();
  });
});
