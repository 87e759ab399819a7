import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { UnpackError } from '../../../src/image/unpack.ts';
import { type Digest, shortId } from '../../../src/oci/digest.ts';
import type { Descriptor, Manifest } from '../../../src/oci/image-spec.ts';
import { type BuiltImage, documentOf, imageOf, layerOf } from '../../harness/images.ts';
import { type Fixture, makeFixture, noise, textImage } from './store-fixture.ts';

let fixture: Fixture;
beforeEach(() => {
  fixture = makeFixture();
});
afterEach(() => fixture.dispose());

const BUSYBOX = 'docker.io/library/busybox:latest';
const LARGE = 300_000;
const STATUSES = ['Pulling fs layer', 'Downloading', 'Download complete', 'Extracting', 'Pull complete'];

function layersOf(image: BuiltImage): readonly Descriptor[] {
  return (JSON.parse(image.target.bytes.toString()) as Manifest).layers;
}

function only<T>(list: readonly T[]): T {
  const [first] = list;
  if (first === undefined) throw new Error('the list is empty');
  return first;
}

async function publish(...texts: string[]): Promise<readonly Descriptor[]> {
  const image = await textImage(...texts);
  fixture.registry.publish(BUSYBOX, image);
  return layersOf(image);
}

const statuses = (digest: Digest): string[] => {
  const all = fixture.events.flatMap((event) =>
    event.type === 'layer' && event.id === shortId(digest) ? [event.status] : [],
  );
  return all.filter((status, at) => status !== all[at - 1]);
};

/** What is half-made: nothing of it may be left after a pull that succeeded. */
const leftovers = (): string[] => [
  ...readdirSync(fixture.paths.ingest),
  ...readdirSync(fixture.paths.layers).filter((name) => name.startsWith('tmp-')),
  ...readdirSync(fixture.paths.root).filter((name) => name.endsWith('.tmp')),
];

describe('pull()', () => {
  it('brings an image, and the second time nothing', async () => {
    const layers = await publish('a', 'b');
    const first = await fixture.pull('busybox');
    expect(first.status).toBe('downloaded');
    expect(existsSync(only(fixture.store.lowerDirs(first.image)))).toBe(true);
    for (const { digest } of layers) {
      expect(statuses(digest)).toEqual(STATUSES);
    }
    expect(leftovers()).toEqual([]);
    fixture.events.length = 0;
    const second = await fixture.pull('busybox');
    expect(second).toMatchObject({ status: 'up-to-date', digest: first.digest });
    expect(fixture.events.map((event) => event.type)).toEqual(['start']);
    expect([fixture.registry.manifestRequests, fixture.registry.requests.length]).toEqual([1, 2]);
  });

  it('keeps its files from everybody else', async () => {
    await publish('a');
    const { image } = await fixture.pull('busybox');
    const mode = (path: string): number => statSync(path).mode & 0o777;
    const { paths } = fixture;
    expect([paths.blob(image.id), paths.index].map(mode)).toEqual([0o600, 0o600]);
    expect([paths.blobs, paths.layers, paths.ingest].map(mode)).toEqual([0o700, 0o700, 0o700]);
    expect(mode(only(fixture.store.lowerDirs(image)))).toBe(0o755);
  });

  it('asks with GET where the registry answers no HEAD', async () => {
    fixture.registry.knowsHead = false;
    await publish('a');
    expect((await fixture.pull('busybox')).status).toBe('downloaded');
    expect((await fixture.pull('busybox')).status).toBe('up-to-date');
    expect(fixture.registry.manifestRequests).toBe(2);
  });

  it('moves the tag to a newer image and fetches only new layers', async () => {
    const [base] = await publish('base', 'old');
    await fixture.pull('busybox');
    await publish('base', 'new');
    fixture.events.length = 0;
    expect((await fixture.pull('busybox')).status).toBe('downloaded');
    expect(base && statuses(base.digest)).toEqual(['Already exists']);
    expect(fixture.registry.requests).toHaveLength(3);
  });

  it('fetches a blob again that was deleted, without unpacking', async () => {
    const [layer] = await publish('a');
    await fixture.pull('busybox');
    const { digest } = only(layer === undefined ? [] : [layer]);
    const { unlinkSync } = await import('node:fs');
    unlinkSync(fixture.paths.blob(digest));
    expect((await fixture.pull('busybox')).status).toBe('downloaded');
    expect(existsSync(fixture.paths.blob(digest))).toBe(true);
    expect(fixture.unpacker.calls).toHaveLength(1);
  });

  it('unpacks a layer again that was deleted, without downloading', async () => {
    await publish('a');
    const { image } = await fixture.pull('busybox');
    const { rmSync } = await import('node:fs');
    rmSync(fixture.paths.layer(only(image.config.rootfs.diff_ids)), { recursive: true });
    await fixture.pull('busybox');
    expect(existsSync(only(fixture.store.lowerDirs(image)))).toBe(true);
    expect(fixture.registry.requests).toHaveLength(1);
    expect(fixture.unpacker.calls.map((call) => call.have > 0)).toEqual([false, true]);
  });

  it('unpacks two at a time, and the others go to their files first', async () => {
    const layers = await publish(...Array.from({ length: 6 }, (_, n) => noise(50_000, n + 1)));
    let release = (): void => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    fixture.unpacker.beforeEnd = async () => {
      if (fixture.registry.requests.length === 6) release();
      await Promise.race([held, new Promise((resolve) => setTimeout(resolve, 100))]);
    };
    await fixture.pull('busybox');
    expect(fixture.unpacker.most).toBe(2);
    expect(fixture.unpacker.calls.filter((call) => call.have > 0).length).toBeGreaterThan(0);
    expect(statuses(layers[5]?.digest ?? only(layers).digest)).toContain('Waiting');
    expect(leftovers()).toEqual([]);
  });

  it('takes a layer that stands twice once', async () => {
    const layer = await layerOf([{ name: 'x', content: 'x' }]);
    fixture.registry.publish(BUSYBOX, imageOf({ layers: [layer, layer] }));
    const { image } = await fixture.pull('busybox');
    expect(fixture.store.lowerDirs(image)).toHaveLength(1);
    expect(fixture.registry.requests).toHaveLength(1);
  });

  it('takes an image without layers', async () => {
    fixture.registry.publish(BUSYBOX, imageOf({ layers: [] }));
    const { image } = await fixture.pull('busybox');
    expect(fixture.store.lowerDirs(image)).toEqual([fixture.paths.emptyLayer]);
  });

  it('copies a layer that needs the lower ones under its chain', async () => {
    await publish('below', 'above');
    const unpack: typeof fixture.unpacker.unpack = async (input) => {
      const report = await fixture.unpacker.unpack(input);
      const isAbove = fixture.unpacker.calls.length > 0 && input.descriptor.digest === above.digest;
      if (isAbove && input.lower === undefined) {
        throw new UnpackError(above.digest, { kind: 'needs-lower', message: 'hard link', path: 'file' });
      }
      return report;
    };
    const above = layersOf(await textImage('below', 'above'))[1] ?? only(layersOf(await textImage('above')));
    const { image } = await fixture.pull('busybox', { unpack });
    const [top, bottom] = fixture.store.lowerDirs(image);
    expect(fixture.unpacker.calls.at(-1)?.lower).toEqual([bottom]);
    expect(top).not.toBe(fixture.paths.layerFs(image.config.rootfs.diff_ids[1] ?? image.id));
    expect(image.size).toBe(4096);
    expect(fixture.registry.requests).toHaveLength(2);
    await fixture.store.collect(() => []);
    expect(fixture.store.lowerDirs(image)).toEqual([top, bottom]);
  });
});

describe('pull() over a bad line', () => {
  it('gets every byte once, however often it is cut', async () => {
    const { digest, size } = only(await publish(noise(LARGE)));
    fixture.registry.faults.set(digest, { cutAfter: 70_000 });
    await fixture.pull('busybox');
    expect(fixture.registry.sent.get(digest)).toBe(size);
    expect(statuses(digest)).toContain('Retrying');
  });

  it('passes over what a server without Range sends again', async () => {
    const { digest } = only(await publish(noise(LARGE)));
    fixture.registry.faults.set(digest, { cutAfter: 100_000, times: 2, ignoresRange: true });
    await fixture.pull('busybox');
    expect(leftovers()).toEqual([]);
  });

  it('gives up on a server that never gets further', async () => {
    const { digest } = only(await publish(noise(LARGE)));
    fixture.registry.faults.set(digest, { cutAfter: 100_000, ignoresRange: true });
    await expect(fixture.pull('busybox')).rejects.toThrow('connection reset');
    expect(fixture.registry.requests.length).toBeLessThanOrEqual(6);
  });

  it('gives up on a server that drips', async () => {
    const { digest } = only(await publish(noise(LARGE)));
    fixture.registry.faults.set(digest, { cutAfter: 10 });
    await expect(fixture.pull('busybox')).rejects.toThrow('connection reset');
    expect(fixture.registry.requests.length).toBeLessThanOrEqual(6);
  });

  it('resumes in a later pull', async () => {
    const { digest, size } = only(await publish(noise(LARGE)));
    fixture.registry.faults.set(digest, { cutAfter: 200_000, times: 1 });
    const { retrying } = fixture.registry;
    fixture.registry.retrying = (attempt) => attempt(1);
    await expect(fixture.pull('busybox')).rejects.toThrow('connection reset');
    expect(statSync(fixture.paths.partial(digest)).size).toBe(200_000);
    fixture.registry.retrying = retrying;
    await fixture.pull('busybox');
    expect(fixture.registry.requests.map((request) => request.offset)).toEqual([0, 200_000]);
    expect(fixture.registry.sent.get(digest)).toBe(size);
  });

  it('fetches a corrupt blob once more, from its first byte', async () => {
    const { digest } = only(await publish(noise(LARGE)));
    fixture.registry.faults.set(digest, { corrupt: 1 });
    await fixture.pull('busybox');
    expect(fixture.registry.requests.map((request) => request.offset)).toEqual([0, 0]);
    expect(leftovers()).toEqual([]);
  });

  it('gives a blob up that is corrupt twice, and keeps nothing of it', async () => {
    const { digest } = only(await publish(noise(LARGE)));
    fixture.registry.faults.set(digest, { corrupt: 9 });
    await expect(fixture.pull('busybox')).rejects.toThrow(
      `filesystem layer verification failed for digest ${digest}`,
    );
    expect(fixture.registry.requests).toHaveLength(2);
    expect(leftovers()).toEqual([]);
    expect(fixture.store.list()).toEqual([]);
  });

  it('does not trust a partial file that is wrong', async () => {
    const { digest, size } = only(await publish(noise(LARGE)));
    for (const bytes of [1000, size, size + 1]) {
      mkdirSync(fixture.paths.ingest, { recursive: true });
      writeFileSync(fixture.paths.partial(digest), Buffer.alloc(bytes, 'x'));
      const { image } = await fixture.pull('busybox');
      expect(readFileSync(fixture.paths.blob(digest)).length).toBe(size);
      await fixture.store.remove(image.id, { inUse: () => [] });
    }
  });

  it('does not trust a finished blob that is damaged', async () => {
    const { digest, size } = only(await publish(noise(LARGE)));
    mkdirSync(fixture.paths.blobs, { recursive: true });
    writeFileSync(fixture.paths.blob(digest), Buffer.alloc(size, 'x'));
    await fixture.pull('busybox');
    expect(fixture.registry.requests).toHaveLength(1);
    expect(leftovers()).toEqual([]);
  });
});

describe('pull() of a blob whose size is in dispute', () => {
  it('replaces a finished blob that was cut short', async () => {
    const { digest, size } = only(await publish(noise(LARGE)));
    mkdirSync(fixture.paths.blobs, { recursive: true });
    writeFileSync(fixture.paths.blob(digest), 'x');
    await fixture.pull('busybox');
    expect(statSync(fixture.paths.blob(digest)).size).toBe(size);
  });

  it('blames the manifest where the blob is right, and keeps the blob', async () => {
    const layer = await layerOf([{ name: 'x', content: noise(LARGE) }]);
    fixture.registry.publish(BUSYBOX, imageOf({ layers: [layer] }));
    await fixture.pull('busybox');
    const descriptor = { ...layer.descriptor, size: layer.descriptor.size + 1 };
    fixture.registry.publish(BUSYBOX, imageOf({ layers: [{ ...layer, descriptor }] }));
    await expect(fixture.pull('busybox')).rejects.toThrow('but the manifest says');
    expect(existsSync(fixture.paths.blob(descriptor.digest))).toBe(true);
    expect(fixture.store.resolve('busybox')).toBeDefined();
  });
});

describe('pull() that is interrupted', () => {
  it('ends at once when it is aborted, and keeps what it has', async () => {
    const { digest } = only(await publish(noise(LARGE)));
    const controller = new AbortController();
    let chunks = 0;
    fixture.registry.beforeChunk = () => {
      chunks += 1;
      if (chunks === 5) controller.abort(new Error('interrupted'));
    };
    await expect(fixture.pull('busybox', { signal: controller.signal })).rejects.toThrow('interrupted');
    expect(statSync(fixture.paths.partial(digest)).size).toBeGreaterThan(0);
    expect(readdirSync(fixture.paths.layers)).toEqual([]);
    await fixture.pull('busybox');
    expect(fixture.registry.requests.at(-1)?.offset).toBeGreaterThan(0);
  });

  it('does not wait for a silent server when another layer failed', async () => {
    const [bad, silent] = await publish('bad', 'silent');
    fixture.registry.faults.set(silent?.digest ?? only([]), { stalls: true });
    const unpack: typeof fixture.unpacker.unpack = async (input) => {
      if (input.descriptor.digest !== bad?.digest) return await fixture.unpacker.unpack(input);
      throw new UnpackError(input.descriptor.digest, { kind: 'tar', message: 'not a tar' });
    };
    await expect(fixture.pull('busybox', { unpack })).rejects.toThrow('not a tar');
    expect(leftovers().filter((name) => name.startsWith('tmp-'))).toEqual([]);
  });

  it('clears away what a killed pull left half-unpacked, but not what is being unpacked', async () => {
    await publish('a');
    const dead = fixture.paths.temporaryLayer('dead');
    mkdirSync(join(dead, 'fs', 'deep'), { recursive: true });
    let during: string[] = [];
    fixture.unpacker.beforeEnd = async () => {
      await fixture.store.repair();
      during = readdirSync(fixture.paths.layers);
    };
    await fixture.pull('busybox');
    expect(existsSync(dead)).toBe(false);
    expect(during).toHaveLength(1);
  });

  it('gives partial downloads up after a week', async () => {
    const { digest } = only(await publish('a'));
    mkdirSync(fixture.paths.ingest, { recursive: true });
    const old = fixture.paths.partial(`sha256:${'0'.repeat(64)}` as Digest);
    writeFileSync(old, 'x');
    const then = Date.now() / 1000 - 8 * 24 * 3600;
    utimesSync(old, then, then);
    writeFileSync(fixture.paths.partial(digest), '');
    await fixture.store.repair();
    expect([existsSync(old), existsSync(fixture.paths.partial(digest))]).toEqual([false, true]);
  });

  it('gives the space back when the disk is full', async () => {
    const [a, b] = await publish(noise(LARGE, 1), noise(LARGE, 2));
    const unpack: typeof fixture.unpacker.unpack = async (input) => {
      const report = await fixture.unpacker.unpack(input);
      if (input.descriptor.digest === a?.digest) return report;
      while (!existsSync(fixture.paths.blob(a?.digest ?? only([]))))
        await new Promise((r) => setTimeout(r, 1));
      throw new UnpackError(input.descriptor.digest, { kind: 'space', message: 'full', errno: 'ENOSPC' });
    };
    await expect(fixture.pull('busybox', { unpack })).rejects.toMatchObject({
      kind: 'unavailable',
      message: `Cannot pull "busybox:latest": no space left on the device of "${fixture.paths.root}"`,
    });
    expect(b).toBeDefined();
    expect(leftovers()).toEqual([]);
    expect([readdirSync(fixture.paths.layers), readdirSync(fixture.paths.trash)]).toEqual([[], []]);
    expect(existsSync(fixture.paths.blob(a?.digest ?? only([])))).toBe(false);
    expect(fixture.store.list()).toEqual([]);
  });
});

describe('pull() several at once', () => {
  it('downloads a shared blob once', async () => {
    const layers = await publish(noise(LARGE, 1), noise(LARGE, 2));
    fixture.registry.publish('docker.io/library/other:latest', await textImage(noise(LARGE, 1), 'own'));
    const pulls = [...Array(8).keys()].map((n) => fixture.pull(n % 2 === 0 ? 'busybox' : 'other'));
    const results = await Promise.all(pulls);
    expect(new Set(results.map(({ image }) => image.id)).size).toBe(2);
    for (const { digest, size } of layers) expect(fixture.registry.sent.get(digest)).toBe(size);
    expect(fixture.unpacker.calls).toHaveLength(3);
    expect(leftovers()).toEqual([]);
    expect(fixture.store.list()).toHaveLength(2);
  });
});

describe('pull() refuses', () => {
  const refused = async (image: BuiltImage, message: string | RegExp): Promise<void> => {
    fixture.registry.publish(BUSYBOX, image);
    await expect(fixture.pull('busybox')).rejects.toThrow(message);
    expect(fixture.store.list()).toEqual([]);
    expect(fixture.registry.requests).toEqual([]);
  };

  it('a config that names another number of layers', async () => {
    const layer = await layerOf([{ name: 'x' }]);
    const override = { rootfs: { type: 'layers', diff_ids: [layer.diffId, layer.diffId] } };
    await refused(imageOf({ layers: [layer], override }), "number of layers and diffIDs don't match");
  });

  it('a layer that is encrypted', async () => {
    const layer = await layerOf([{ name: 'x' }]);
    const descriptor = {
      ...layer.descriptor,
      mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip+encrypted',
    };
    await refused(imageOf({ layers: [{ ...layer, descriptor }] }), 'it is encrypted');
  });

  it('a config that is far too large', async () => {
    const layer = await layerOf([{ name: 'x' }]);
    const image = imageOf({ layers: [layer], override: { author: 'x'.repeat(11 << 20) } });
    await refused(image, 'image config');
  });

  it('a layer whose content is another than the config says', async () => {
    const layer = await layerOf([{ name: 'x' }]);
    const override = { rootfs: { type: 'layers', diff_ids: [layer.descriptor.digest] } };
    fixture.registry.publish(BUSYBOX, imageOf({ layers: [layer], override }));
    await expect(fixture.pull('busybox')).rejects.toThrow('wrong diffid');
    expect(readdirSync(fixture.paths.layers)).toEqual([]);
    expect(leftovers()).toEqual([]);
  });

  it('an image for another platform than the one asked for', async () => {
    await publish('a');
    await expect(
      fixture.pull('busybox', { platform: { os: 'linux', architecture: 'arm64' } }),
    ).rejects.toThrow(
      'image with reference busybox:latest was found but its platform (linux/amd64) does not match the specified platform (linux/arm64/v8)',
    );
  });

  it('an artifact', async () => {
    const target = documentOf(
      {
        schemaVersion: 2,
        config: {
          mediaType: 'application/vnd.oci.empty.v1+json',
          digest: `sha256:${'1'.repeat(64)}`,
          size: 2,
        },
        layers: [],
      },
      'application/vnd.oci.image.manifest.v1+json',
    );
    await refused({ target, blobs: new Map() }, 'it is an artifact');
  });
});
