import { closeSync, openSync } from 'node:fs';
import { withLock } from '../disk/lock.ts';
import type { Paths } from '../disk/paths.ts';
import { type Digest, shortId } from '../oci/digest.ts';
import { chainIds } from './blobs.ts';
import { beginLayer, type HalfLayer } from './half-layer.ts';
import { readIndex, writeIndex } from './index-file.ts';
import { holdBlob } from './ingest.ts';
import { layerName, lowerDirectories } from './layers.ts';
import { withoutImages } from './prune.ts';
import { buryLayer, emptyTrash } from './repair.ts';
import type { Store } from './store.ts';
import { resolvedEntries } from './stored-image.ts';
import {
  type CheckedLayer,
  type CheckOptions,
  type Finding,
  ofOwners,
  type Trouble,
  titleOf,
} from './trouble.ts';
import { isUnpackError, unpackLayer } from './unpack.ts';

/**
 * What `system check --repair` does about damages. A layer is unpacked again from its blob; a blob or an image that is
 * damaged is deleted, so that a pull brings it again. What a running container uses is not touched.
 */
export function repairerOf(store: Store, options: CheckOptions): (trouble: Trouble) => Promise<Finding> {
  const { paths } = store;
  return async (trouble) => {
    switch (trouble.kind) {
      case 'blob':
        return await dropBlob(paths, trouble);
      case 'image':
        return await dropImage(store, options, trouble);
      case 'layer':
        return await restoreLayer(store, options, trouble);
    }
  };
}

async function dropBlob(paths: Paths, blob: Extract<Trouble, { kind: 'blob' }>): Promise<Finding> {
  await deleteBlob(paths, blob.digest, blob.size);
  const again = blob.owners.size === 0 ? '' : `; pull ${[...blob.owners].join(', ')} again`;
  return { kind: 'dropped', text: `blob ${shortId(blob.digest)}${ofOwners(blob.owners)}: deleted${again}` };
}

async function deleteBlob(paths: Paths, digest: Digest, size: number): Promise<void> {
  const held = await holdBlob(paths, digest, { size });
  try {
    if (held.complete) held.discard();
  } finally {
    held.release();
  }
}

async function dropImage(
  store: Store,
  options: CheckOptions,
  { key, owner, blobs }: Extract<Trouble, { kind: 'image' }>,
): Promise<Finding> {
  const { paths } = store;
  if (options.uses().some(({ image }) => image === key.id)) {
    return { kind: 'kept', text: `image ${owner}: kept, because a container uses it; pull ${owner} again` };
  }
  for (const digest of blobs) await deleteBlob(paths, digest, 0);
  await withLock(paths.indexLock, 'exclusive', () => {
    const index = readIndex(paths);
    const entries = withoutImages(resolvedEntries(paths, index.entries, store.host), new Set([key.id]));
    writeIndex(paths, { ...index, entries });
  });
  return { kind: 'dropped', text: `image ${owner}: removed; pull ${owner} again` };
}

async function restoreLayer(
  store: Store,
  options: CheckOptions,
  { layer, hasBlob }: Extract<Trouble, { kind: 'layer' }>,
): Promise<Finding> {
  const { paths } = store;
  const title = titleOf(layer);
  const names = [...layer.owners].join(', ');
  const user = userOf(store, options, layer);
  if (user !== undefined) {
    return {
      kind: 'kept',
      text: `${title}: kept, because container ${user.slice(0, 12)} runs on it; stop it first`,
    };
  }
  const found = layerName(paths, layer.diffIds, layer.position);
  if (!hasBlob) {
    if (found !== undefined) buryLayer(paths, found);
    emptyTrash(paths);
    return { kind: 'dropped', text: `${title}: cannot be restored without its blob; pull ${names} again` };
  }
  try {
    await unpackAgain(paths, options, layer);
  } catch (error) {
    if (!isUnpackError(error)) throw error;
    return { kind: 'kept', text: `${title}: ${error.message}; pull ${names} again` };
  }
  emptyTrash(paths);
  return { kind: 'repaired', text: `${title}: unpacked again` };
}

/** A running container that has the layer below its root. */
function userOf(store: Store, options: CheckOptions, layer: CheckedLayer): string | undefined {
  const diffId = layer.diffIds[layer.position];
  return options.uses().find(({ running, image }) => {
    if (!running || diffId === undefined) return false;
    return store.resolve(image)?.config.rootfs.diff_ids.includes(diffId) ?? true;
  })?.id;
}

/** First as it is; with the layers below where it has a hard link into one of them. */
async function unpackAgain(paths: Paths, options: CheckOptions, layer: CheckedLayer): Promise<void> {
  try {
    await unpackOnce(paths, options, layer, undefined);
  } catch (error) {
    if (!isUnpackError(error, 'needs-lower') || layer.position === 0) throw error;
    await unpackOnce(paths, options, layer, lowerDirectories(paths, layer.diffIds.slice(0, layer.position)));
  }
}

async function unpackOnce(
  paths: Paths,
  options: CheckOptions,
  layer: CheckedLayer,
  lower: readonly string[] | undefined,
): Promise<void> {
  const { descriptor, diffIds, position } = layer;
  const diffId = diffIds[position];
  if (diffId === undefined) throw new Error('layer without a diffID');
  const half: HalfLayer = beginLayer(paths);
  try {
    const blobFd = openSync(paths.blob(descriptor.digest), 'r');
    try {
      const report = await unpackLayer({
        unpacker: options.unpackerPath,
        layerDir: half.fs,
        blobFd,
        have: descriptor.size,
        descriptor,
        diffId,
        ...(lower === undefined ? {} : { lower }),
        ...(options.signal === undefined ? {} : { signal: options.signal }),
      });
      const name = lower === undefined ? diffId : (chainIds(diffIds.slice(0, position + 1)).at(-1) ?? diffId);
      // A crash between the two leaves a layer that is not unpacked: the next check or pull makes it.
      buryLayer(paths, name);
      half.finish(name, { diffId, ...report });
    } finally {
      closeSync(blobFd);
    }
  } finally {
    half.dispose();
  }
}
