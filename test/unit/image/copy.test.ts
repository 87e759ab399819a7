import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { pathsOf } from '../../../src/disk/paths.ts';
import { archivePusher } from '../../../src/image/archive-pusher.ts';
import { archiveRegistry } from '../../../src/image/archive-registry.ts';
import { blobsOf, planCopy } from '../../../src/image/copy.ts';
import { layoutArchive } from '../../../src/image/layout.ts';
import { layoutPusher } from '../../../src/image/layout-pusher.ts';
import type { Digest } from '../../../src/oci/digest.ts';
import type { Descriptor } from '../../../src/oci/image-spec.ts';
import { RegistryError } from '../../../src/registry/errors.ts';
import type { Reference } from '../../../src/registry/reference.ts';
import type { Registry } from '../../../src/registry/registry.ts';
import type { UploadSource } from '../../../src/registry/upload.ts';
import { type BuiltImage, imageOf, indexOf, layerOf, writeLayout } from '../../harness/images.ts';
import { noise } from './store-fixture.ts';

const AMD = { os: 'linux', architecture: 'amd64' };
const ARM = { os: 'linux', architecture: 'arm64' };

let home: string;
let amd: BuiltImage;
let index: BuiltImage;
let registry: Registry;
beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), 'tinyrun-copy-'));
  const shared = await layerOf([{ name: 'shared', content: noise(200_000) }]);
  amd = imageOf({ layers: [shared, await layerOf([{ name: 'amd' }])], platform: AMD });
  const arm = imageOf({ layers: [shared, await layerOf([{ name: 'arm' }])], platform: ARM });
  const inner = indexOf([{ image: arm, platform: ARM }]);
  index = indexOf([{ image: amd, platform: AMD }, { image: inner }]);
  mkdirSync(join(home, 'layout'));
  writeLayout(join(home, 'layout'), { x: index });
  registry = archiveRegistry(layoutArchive(join(home, 'layout')), new Map());
});
afterAll(() => rmSync(home, { recursive: true, force: true }));

const at = (digest: Digest): Reference => ({ registry: 'archive', repository: 'image', digest });
const top = (): Reference => at(index.target.descriptor.digest);
const largest = (): Descriptor => {
  const [digest, bytes] = [...amd.blobs].sort(([, a], [, b]) => b.length - a.length)[0] ?? [];
  if (digest === undefined || bytes === undefined) throw new Error('no blob');
  return { mediaType: 'x', digest, size: bytes.length };
};
const bytesOf = async (chunks: AsyncIterable<Uint8Array>): Promise<Buffer> => {
  const all: Uint8Array[] = [];
  for await (const chunk of chunks) all.push(chunk);
  return Buffer.concat(all);
};

describe('planCopy()', () => {
  it('takes one image of an index, as it is', async () => {
    const plan = await planCopy(registry, top(), { platform: AMD, allPlatforms: false });
    expect(plan.top.digest).toBe(amd.target.descriptor.digest);
    expect([plan.layers.length, plan.configs.length, plan.manifests.length]).toEqual([2, 1, 0]);
  });

  it('takes everything below an index, each blob once, parts before the whole', async () => {
    const plan = await planCopy(registry, top(), { platform: AMD, allPlatforms: true });
    expect(plan.top.digest).toBe(index.target.descriptor.digest);
    expect([plan.layers.length, plan.configs.length, plan.manifests.length]).toEqual([3, 2, 3]);
    const [, arm, inner] = plan.manifests;
    expect(Buffer.from(inner?.bytes ?? '').toString()).toContain(arm?.digest);
  });

  it('says what platforms there are', async () => {
    const choice = { platform: { os: 'linux', architecture: 's390x' }, allPlatforms: false };
    await expect(planCopy(registry, at(amd.target.descriptor.digest), choice)).resolves.toBeDefined();
    const only = indexOf([{ image: amd, platform: AMD }]);
    mkdirSync(join(home, 'only'));
    writeLayout(join(home, 'only'), { x: only });
    const other = archiveRegistry(layoutArchive(join(home, 'only')), new Map());
    await expect(planCopy(other, at(only.target.descriptor.digest), choice)).rejects.toMatchObject({
      kind: 'not_found',
      hint: 'It has linux/amd64',
    });
  });
});

describe('blobsOf()', () => {
  it('gives the bytes asked for, whether the server knows ranges or not', async () => {
    const blob = largest();
    const whole = readFileSync(join(home, 'layout/blobs/sha256', blob.digest.slice(7)));
    const deaf: Registry = {
      ...registry,
      blob: (reference, descriptor) => registry.blob(reference, descriptor, 0),
    };
    for (const from of [registry, deaf]) {
      const source = blobsOf(from, top())(blob);
      for (const [first, last] of [
        [0, whole.length - 1],
        [1000, 1000],
        [70_000, 150_000],
        [whole.length - 5, whole.length - 1],
      ] as const) {
        expect((await bytesOf(source(first, last))).equals(whole.subarray(first, last + 1))).toBe(true);
      }
      expect(await bytesOf(source(5, 4))).toHaveLength(0);
    }
  });
});

/** Breaks off once after some bytes; notes where it was asked to begin. */
function breaking(bytes: Buffer, after: number): { source: UploadSource; begun: number[] } {
  const begun: number[] = [];
  async function* source(first: number, last: number): AsyncGenerator<Uint8Array> {
    begun.push(first);
    if (begun.length > 1) return yield bytes.subarray(first, last + 1);
    yield bytes.subarray(first, first + after);
    throw new RegistryError('unavailable', 'broken off', { retry: 'always' });
  }
  return { source, begun };
}

describe('layoutPusher(), archivePusher()', () => {
  const descriptorOf = (bytes: Buffer): Descriptor => ({
    mediaType: 'x',
    digest: `sha256:${createHash('sha256').update(bytes).digest('hex')}` as Digest,
    size: bytes.length,
  });

  it('go on where the source broke off', async () => {
    const bytes = Buffer.from(noise(100_000));
    const blob = descriptorOf(bytes);
    const directory = join(home, 'target');
    const pusher = layoutPusher({ paths: pathsOf({ root: directory, runRoot: home }), top: blob.digest });
    const one = breaking(bytes, 70_000);
    await pusher.upload(blob, one.source, () => {});
    pusher.close();
    expect(one.begun).toEqual([0, 70_000]);
    expect(readFileSync(join(directory, 'blobs/sha256', blob.digest.slice(7))).equals(bytes)).toBe(true);
    expect(readdirSync(directory).sort()).toEqual(['blobs', 'oci-layout']);

    const { target } = amd;
    const document = {
      digest: target.descriptor.digest,
      mediaType: target.descriptor.mediaType,
      bytes: target.bytes,
    };
    const archive = archivePusher({ path: join(home, 'a.tar'), top: document });
    const two = breaking(bytes, 70_000);
    await archive.upload(blob, two.source, () => {});
    await archive.putManifest('x', document.mediaType, document.bytes);
    await archive.finish();
    archive.close();
    expect(two.begun).toEqual([0, 70_000]);
    expect(readFileSync(join(home, 'a.tar')).includes(bytes)).toBe(true);
  });

  it('do not name what was not there', async () => {
    const bytes = Buffer.from('these');
    const wrong = { ...descriptorOf(bytes), digest: `sha256:${'0'.repeat(64)}` as Digest };
    const directory = join(home, 'wrong');
    const pusher = layoutPusher({ paths: pathsOf({ root: directory, runRoot: home }), top: wrong.digest });
    async function* source(first: number, last: number): AsyncGenerator<Uint8Array> {
      yield bytes.subarray(first, last + 1);
    }
    await expect(pusher.upload(wrong, source, () => {})).rejects.toThrow('its content has the digest');
    pusher.close();
    expect(readdirSync(join(directory, 'blobs/sha256'))).toEqual([]);
    expect(await pusher.hasBlob(wrong.digest)).toBe(false);
  });
});
