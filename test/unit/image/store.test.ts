import { existsSync, readdirSync, unlinkSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { readIndex } from '../../../src/image/index-file.ts';
import { shortId } from '../../../src/oci/digest.ts';
import { imageOf, indexOf, layerOf } from '../../harness/images.ts';
import { type Fixture, HOST, makeFixture, textImage } from './store-fixture.ts';

let fixture: Fixture;
beforeEach(() => {
  fixture = makeFixture();
});
afterEach(() => fixture.dispose());

const BUSYBOX = 'docker.io/library/busybox:latest';
const ALPINE = 'docker.io/library/alpine:latest';
const nobody = { inUse: () => [] };

async function pulled(name: string, ...texts: string[]) {
  fixture.registry.publish(name, await textImage(...texts));
  return (await fixture.pull(name)).image;
}

const counts = () => ({
  blobs: readdirSync(fixture.paths.blobs).length,
  layers: readdirSync(fixture.paths.layers).length,
});

describe('Store.resolve()', () => {
  it('finds nothing in a store that is not there yet', () => {
    expect(fixture.store.resolve('busybox')).toBeUndefined();
    expect(fixture.store.list()).toEqual([]);
  });

  it('finds an image by every name it has', async () => {
    const image = await pulled(BUSYBOX, 'a');
    const { id, targetDigest } = image;
    for (const text of [
      'busybox',
      'busybox:latest',
      BUSYBOX,
      id,
      id.slice(7),
      shortId(id),
      id.slice(0, 12),
      `busybox@${targetDigest}`,
      `busybox:old@${targetDigest}`,
    ]) {
      expect(fixture.store.resolve(text)?.id, text).toBe(id);
    }
    for (const text of ['alpine', 'busybox:1', `alpine@${targetDigest}`, 'f'.repeat(64)]) {
      expect(fixture.store.resolve(text), text).toBeUndefined();
    }
    expect(image.references).toEqual([BUSYBOX]);
    expect(image.repoDigests).toEqual([`docker.io/library/busybox@${targetDigest}`]);
  });

  it('refuses a prefix of several ids', async () => {
    const images = await Promise.all(Array.from({ length: 17 }, (_, n) => textImage(`${n}`)));
    for (const [n, image] of images.entries()) {
      fixture.registry.publish(`docker.io/library/i${n}:latest`, image);
      await fixture.pull(`i${n}`);
    }
    const first = fixture.store.list().map(({ id }) => id[7] ?? '');
    const twice = first.find((digit, at) => first.indexOf(digit) !== at) ?? '';
    expect(() => fixture.store.resolve(twice)).toThrow(/image ids begin with it, expected one/);
  });

  it('refuses text that is no reference', () => {
    expect(() => fixture.store.resolve('A//b')).toThrow('invalid reference format');
  });

  it('says what is missing where a blob or a layer was deleted', async () => {
    const image = await pulled(BUSYBOX, 'a');
    unlinkSync(fixture.paths.blob(image.id));
    expect(() => fixture.store.resolve('busybox')).toThrow(/is missing from the store/);
    const alpine = await pulled(ALPINE, 'b');
    expect(fixture.store.list()).toMatchObject([{ id: alpine.id }]);
    await fixture.store.remove('busybox', nobody);
    expect(counts()).toEqual({ blobs: 3, layers: 1 });
  });
});

describe('Store.lowerDirs()', () => {
  it('names the directories from the top', async () => {
    const image = await pulled(BUSYBOX, 'a', 'b');
    const [below = image.id, above = image.id] = image.config.rootfs.diff_ids;
    expect(fixture.store.lowerDirs(image)).toEqual([
      fixture.paths.layerFs(above),
      fixture.paths.layerFs(below),
    ]);
  });

  it('names a repeated layer once, at its upper place', async () => {
    const image = await pulled(BUSYBOX, 'a', 'b', 'a');
    const [a = image.id, b = image.id] = image.config.rootfs.diff_ids;
    expect(fixture.store.lowerDirs(image)).toEqual([fixture.paths.layerFs(a), fixture.paths.layerFs(b)]);
  });
});

describe('Store.list()', () => {
  it('gives sizes and creation times', async () => {
    await pulled(BUSYBOX, 'a', 'b');
    expect(fixture.store.list()).toMatchObject([{ size: 4096, created: '2024-01-02T03:04:05Z' }]);
  });

  it('lists an image whose tag moved on without that tag', async () => {
    const old = await pulled(BUSYBOX, 'a');
    const current = await pulled(BUSYBOX, 'b');
    expect(fixture.store.list()).toMatchObject([
      { id: old.id, references: [`docker.io/library/busybox@${old.targetDigest}`] },
      { id: current.id, references: [BUSYBOX] },
    ]);
    expect(fixture.store.resolve(`busybox@${old.targetDigest}`)?.id).toBe(old.id);
  });
});

describe('Store.tag()', () => {
  it('names an image once more, under the same target', async () => {
    const image = await pulled(BUSYBOX, 'a');
    await fixture.store.tag(shortId(image.id), 'localhost:5000/box');
    const tagged = fixture.store.resolve('localhost:5000/box:latest');
    expect(tagged).toMatchObject({ id: image.id, references: [BUSYBOX, 'localhost:5000/box:latest'] });
    expect(tagged?.repoDigests).toEqual(image.repoDigests);
  });

  it('refuses what is not there and names that are none', async () => {
    await expect(fixture.store.tag('nothing', 'x')).rejects.toThrow('No such image: nothing:latest');
    const { targetDigest } = await pulled(BUSYBOX, 'a');
    await expect(fixture.store.tag('busybox', `x@${targetDigest}`)).rejects.toThrow(
      'refusing to create a tag with a digest reference',
    );
  });
});

describe('Store.remove()', () => {
  it('deletes what no other image needs', async () => {
    const busybox = await pulled(BUSYBOX, 'shared', 'a');
    const alpine = await pulled(ALPINE, 'shared', 'b');
    const removed = await fixture.store.remove('busybox', nobody);
    expect(removed.untagged).toEqual(['busybox:latest', `busybox@${busybox.targetDigest}`]);
    expect(removed.deleted).toHaveLength(2);
    expect(removed.deleted[0]).toBe(busybox.id);
    expect(counts()).toEqual({ blobs: 4, layers: 2 });
    expect(fixture.store.lowerDirs(alpine).every((directory) => existsSync(directory))).toBe(true);
    await fixture.store.remove('alpine', nobody);
    expect(counts()).toEqual({ blobs: 0, layers: 0 });
    expect(readdirSync(fixture.paths.trash)).toEqual([]);
  });

  it('refuses an image that is not there', async () => {
    await expect(fixture.store.remove('busybox', nobody)).rejects.toThrow('No such image: busybox:latest');
  });

  it('keeps what a container needs after a forced removal, until the container is gone', async () => {
    const image = await pulled(BUSYBOX, 'a');
    const use = { id: 'c'.repeat(64), running: false, image: image.id };
    const { deleted } = await fixture.store.remove('busybox', { force: true, inUse: () => [use] });
    expect(deleted).toEqual([image.id]);
    expect(fixture.store.list()).toEqual([]);
    expect(fixture.store.resolve('busybox')).toBeUndefined();
    expect(fixture.store.resolve(shortId(image.id))).toBeUndefined();
    expect(fixture.store.resolve(image.id)?.id).toBe(image.id);
    expect(fixture.store.lowerDirs(image).every((directory) => existsSync(directory))).toBe(true);
    await fixture.store.collect(() => []);
    expect(counts()).toEqual({ blobs: 0, layers: 0 });
    expect(readIndex(fixture.paths).entries).toEqual([]);
  });

  it('deletes no bytes while somebody holds a lease', async () => {
    await pulled(BUSYBOX, 'a');
    const lease = await fixture.store.lease();
    await fixture.store.remove('busybox', nobody);
    expect(counts()).toEqual({ blobs: 3, layers: 1 });
    lease.release();
    expect(await fixture.store.collect(() => [])).toBe(true);
    expect(counts()).toEqual({ blobs: 0, layers: 0 });
  });
});

describe('an index with several platforms', () => {
  const ARM = { os: 'linux', architecture: 'arm64' };

  async function publishMulti() {
    const amd64 = imageOf({ layers: [await layerOf([{ name: 'x', content: 'amd64' }])], platform: HOST });
    const arm64 = imageOf({ layers: [await layerOf([{ name: 'x', content: 'arm64' }])], platform: ARM });
    const index = indexOf([
      { image: arm64, platform: ARM },
      { image: amd64, platform: HOST },
    ]);
    fixture.registry.publish(BUSYBOX, index);
    return index.target.descriptor.digest;
  }

  it('keeps the index and brings only the platform that was chosen', async () => {
    const digest = await publishMulti();
    const { image } = await fixture.pull('busybox');
    expect(image).toMatchObject({ targetDigest: digest, config: { architecture: 'amd64' } });
    expect(counts()).toEqual({ blobs: 4, layers: 1 });
    expect(fixture.store.resolve('busybox', ARM)).toBeUndefined();
  });

  it('prefers the platform of the host, whatever came first', async () => {
    await publishMulti();
    const arm = await fixture.pull('busybox', { platform: ARM });
    expect(arm.image.config.architecture).toBe('arm64');
    expect(fixture.store.resolve('busybox')?.config.architecture).toBe('arm64');
    expect((await fixture.pull('busybox')).status).toBe('downloaded');
    expect(fixture.store.resolve('busybox')?.config.architecture).toBe('amd64');
    await fixture.pull('busybox', { platform: ARM });
    expect(fixture.store.resolve('busybox')?.config.architecture).toBe('amd64');
    expect(fixture.store.resolve('busybox', ARM)?.id).toBe(arm.image.id);
    expect(fixture.store.list().map((image) => image.references)).toEqual([[BUSYBOX], [BUSYBOX]]);
    await fixture.store.remove(arm.image.id, nobody);
    expect(counts()).toEqual({ blobs: 4, layers: 1 });
  });
});
