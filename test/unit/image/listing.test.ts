import { existsSync, mkdirSync, mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Paths, pathsOf } from '../../../src/disk/paths.ts';
import { writeIndex } from '../../../src/image/index-file.ts';
import { openStore, type Store } from '../../../src/image/store.ts';
import { hexOf } from '../../../src/oci/digest.ts';
import { digestOf, imageOf, layerOf } from '../../harness/images.ts';

let directory: string;
let paths: Paths;
let store: Store;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'tinyrun-listing-'));
  paths = pathsOf({ root: join(directory, 'root'), runRoot: join(directory, 'run') });
  store = openStore(paths, { os: 'linux', architecture: 'amd64' });
});
afterEach(() => rmSync(directory, { recursive: true }));

/** So many images of one layer each, as they lie in a store. */
async function fill(count: number): Promise<void> {
  mkdirSync(paths.blobs, { recursive: true });
  const entries = [];
  for (let number = 0; number < count; number += 1) {
    const layer = await layerOf([{ name: 'f', content: String(number) }]);
    const { target, blobs } = imageOf({ layers: [layer] });
    for (const [digest, bytes] of blobs) writeFileSync(paths.blob(digest), bytes);
    mkdirSync(paths.layerFs(layer.diffId), { recursive: true });
    const record = { diffId: layer.diffId, bytes: 100 + number, files: 1 };
    writeFileSync(paths.layerRecord(layer.diffId), JSON.stringify(record));
    const config = JSON.parse(target.bytes.toString()).config.digest;
    entries.push({
      name: `docker.io/library/image${number}:latest`,
      target: {
        mediaType: target.descriptor.mediaType,
        digest: digestOf(target.bytes),
        size: target.bytes.length,
      },
      images: [{ manifest: target.descriptor.digest, id: config }],
      annotations: {},
      rest: {},
    });
  }
  writeIndex(paths, { entries, rest: {} });
  settle();
}

/** As if nothing had changed for a minute. */
function settle(): void {
  const then = Date.now() / 1000 - 60;
  for (const path of [paths.index, paths.blobs, paths.layers]) utimesSync(path, then, then);
}

const shown = (cached: boolean): unknown[] =>
  store
    .list({ cached })
    .map(({ id, created, size, references, config }) => [id, created, size, references, config]);

describe('Store.list()', () => {
  it('shows the same from the cache as without it', async () => {
    await fill(10);
    const plain = shown(false);
    expect(plain).toHaveLength(10);
    expect(existsSync(paths.imageFacts)).toBe(false);
    expect(shown(true)).toEqual(plain);
    expect(existsSync(paths.imageFacts)).toBe(true);
    expect(shown(true)).toEqual(plain);
  });

  it('reads nothing of an image from a valid cache until it is asked for', async () => {
    await fill(10);
    store.list({ cached: true });
    const [first] = store.list();
    if (first === undefined) throw new Error('no image');
    // Within the file, which no stamp sees: only who reads it notices.
    writeFileSync(paths.blob(first.id), '{}');
    expect(store.list({ cached: true })).toHaveLength(10);
    expect(store.list()).toHaveLength(9);
  });

  it.each(['blob', 'layer', 'index'])('does not trust a cache after a %s has gone', async (what) => {
    await fill(10);
    store.list({ cached: true });
    const [first] = store.list();
    const [diffId] = first?.config.rootfs.diff_ids ?? [];
    if (first === undefined || diffId === undefined) throw new Error('no image');
    // Without the layer there is still its blob.
    const [{ size } = { size: 0 }] = what === 'layer' ? first.manifest.layers : [];
    if (what === 'blob') rmSync(paths.blob(first.id));
    if (what === 'layer') rmSync(join(paths.layers, hexOf(diffId)), { recursive: true });
    if (what === 'index') rmSync(paths.index);
    expect(shown(true)).toEqual(shown(false));
    expect(store.list({ cached: true }).find(({ id }) => id === first.id)?.size ?? 0).toBe(size);
  });

  it('keeps no cache of what changed just now, of few images, or where it cannot', async () => {
    await fill(10);
    const now = Date.now() / 1000;
    utimesSync(paths.index, now, now);
    store.list({ cached: true });
    expect(existsSync(paths.imageFacts)).toBe(false);
    settle();
    writeFileSync(paths.cache, 'in the way');
    expect(store.list({ cached: true })).toHaveLength(10);
    rmSync(paths.cache);
    rmSync(paths.root, { recursive: true });
    await fill(3);
    expect(store.list({ cached: true })).toHaveLength(3);
    expect(existsSync(paths.imageFacts)).toBe(false);
  });

  it('forgets a damaged cache', async () => {
    await fill(10);
    const plain = shown(false);
    shown(true);
    writeFileSync(paths.imageFacts, '{"stamp":');
    expect(shown(true)).toEqual(plain);
  });
});
