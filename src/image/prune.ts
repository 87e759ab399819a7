import type { Paths } from '../disk/paths.ts';
import type { Digest } from '../oci/digest.ts';
import { blobSize, digestsIn } from './blobs.ts';
import type { IndexEntry } from './index-file.ts';
import { readLayerRecord } from './layer-record.ts';
import { layerName } from './layers.ts';
import type { StoredImage } from './stored-image.ts';

/** The entries without some images; an entry that has none left goes with its name. */
export function withoutImages(
  entries: readonly IndexEntry[],
  gone: ReadonlySet<Digest>,
): readonly IndexEntry[] {
  let changed = false;
  const left = entries.flatMap((entry): IndexEntry[] => {
    if (entry.images === undefined || entry.isRemoved) return [entry];
    const images = entry.images.filter(({ id }) => !gone.has(id));
    if (images.length === entry.images.length) return [entry];
    changed = true;
    const { isWhole: _, ...partial } = entry;
    return images.length === 0 ? [] : [{ ...partial, images }];
  });
  return changed ? left : entries;
}

/** Bytes that blobs and unpacked layers take, each once. */
export interface StoreSizes {
  readonly blobs: ReadonlyMap<Digest, number>;
  /** By the name in `layers/`: a diffID or a chain ID. */
  readonly layers: ReadonlyMap<Digest, number>;
}

/** The sizes of all that the store has of images: a stat for each blob, a small read for each layer. */
export function storeSizes(paths: Paths): StoreSizes {
  const blobs = new Map<Digest, number>();
  const layers = new Map<Digest, number>();
  for (const digest of digestsIn(paths.blobs)) blobs.set(digest, blobSize(paths, digest) ?? 0);
  for (const name of digestsIn(paths.layers)) {
    try {
      layers.set(name, readLayerRecord(paths, name)?.bytes ?? 0);
    } catch {
      // A damaged record is no reason for a sum to fail.
      layers.set(name, 0);
    }
  }
  return { blobs, layers };
}

export function totalSize({ blobs, layers }: StoreSizes): number {
  let sum = 0;
  for (const size of blobs.values()) sum += size;
  for (const size of layers.values()) sum += size;
  return sum;
}

/** Bytes of the blobs and layers of some images, each once. */
export function sizeOfImages(
  paths: Paths,
  images: readonly StoredImage[],
  { blobs, layers }: StoreSizes,
): number {
  const named = new Set<Digest>();
  const unpacked = new Set<Digest>();
  for (const { id, manifestDigest, targetDigest, manifest, config } of images) {
    for (const digest of [id, manifestDigest, targetDigest, ...manifest.layers.map((one) => one.digest)])
      named.add(digest);
    const diffIds = config.rootfs.diff_ids;
    for (let position = 0; position < diffIds.length; position += 1) {
      const name = layerName(paths, diffIds, position);
      if (name !== undefined) unpacked.add(name);
    }
  }
  let sum = 0;
  for (const digest of named) sum += blobs.get(digest) ?? 0;
  for (const name of unpacked) sum += layers.get(name) ?? 0;
  return sum;
}
