import { type BigIntStats, statSync } from 'node:fs';
import { makePrivateDirectory, readJson, writeJson } from '../disk/atomic.ts';
import type { Paths } from '../disk/paths.ts';
import { TinyrunError } from '../errors.ts';
import type { Digest } from '../oci/digest.ts';
import { type ImageKey, type IndexEntry, repoDigestOf } from './index-file.ts';
import { type ImageNames, listedImage, loadImage, type StoredImage } from './stored-image.ts';

/** Fewer images are read faster than a cache is kept. */
const WORTH_CACHING = 8;
/** Nanoseconds: what was changed later than this before it was looked at may be changed again within the clock's grain. */
const SETTLED = 2_000_000_000n;

/** What a listing shows of an image and would have to read its config and its layers' records for. */
export interface ImageFacts {
  /** RFC 3339; empty where the image does not say. */
  readonly created: string;
  /** Bytes of the unpacked layers. */
  readonly size: number;
}

/**
 * Every image that can be read, each platform of an index on its own, in the order of the index.
 * @param cached takes what is known of images from a file, where the index, the blobs and the layers have not changed since
 *   it was written; else it is written
 */
export function listImages(paths: Paths, entries: readonly IndexEntry[], cached: boolean): StoredImage[] {
  const stamp = cached ? stampOf(paths) : undefined;
  const known = stamp === undefined ? undefined : readFacts(paths, stamp);
  const images: StoredImage[] = [];
  for (const [id, { key, names }] of namesById(entries)) {
    const facts = known?.get(id);
    const image =
      facts === undefined ? loadIfWhole(paths, key, names) : listedImage(paths, key, names, facts);
    if (image !== undefined) images.push(image);
  }
  if (stamp !== undefined && known === undefined && images.length >= WORTH_CACHING) {
    writeFacts(paths, stamp, images);
  }
  return images;
}

/** What names each image that is listed: entries of one image may stand far from each other. */
function namesById(
  entries: readonly IndexEntry[],
): Map<Digest, { readonly key: ImageKey; readonly names: ImageNames }> {
  const naming = new Map<Digest, IndexEntry[]>();
  const listed = new Map<Digest, { readonly key: ImageKey; readonly target: Digest }>();
  for (const entry of entries) {
    for (const key of entry.images ?? []) {
      const all = naming.get(key.id);
      if (all === undefined) naming.set(key.id, [entry]);
      else if (all.at(-1) !== entry) all.push(entry);
      if (!entry.isRemoved && !listed.has(key.id)) listed.set(key.id, { key, target: entry.target.digest });
    }
  }
  return new Map(
    [...listed].map(([id, { key, target }]) => [id, { key, names: namesOf(naming.get(id) ?? [], target) }]),
  );
}

export function namesOf(naming: readonly IndexEntry[], targetDigest: Digest): ImageNames {
  return {
    references: naming.flatMap((one) => one.name ?? []),
    repoDigests: [...new Set(naming.flatMap((one) => repoDigestOf(one) ?? []))],
    targetDigest,
  };
}

/** A listing does not fail because of one damaged image; resolve() says what is wrong with it. */
function loadIfWhole(paths: Paths, key: ImageKey, names: ImageNames): StoredImage | undefined {
  try {
    return loadImage(paths, key, names);
  } catch (error) {
    if (error instanceof TinyrunError) return undefined;
    throw error;
  }
}

interface Stamp {
  readonly text: string;
  /** Nothing was changed so shortly ago that a later change could look the same. */
  readonly isSettled: boolean;
}

/** Changes whenever an image, a blob or a layer comes or goes: the index is renamed into place, the others are directories. */
function stampOf(paths: Paths): Stamp | undefined {
  const found = [paths.index, paths.blobs, paths.layers].map((path): BigIntStats | undefined =>
    statSync(path, { bigint: true, throwIfNoEntry: false }),
  );
  const latest = BigInt(Date.now()) * 1_000_000n - SETTLED;
  return {
    text: found.map((one) => (one === undefined ? '' : `${one.ino} ${one.mtimeNs} ${one.size}`)).join(' '),
    isSettled: found.every((one) => one === undefined || one.mtimeNs < latest),
  };
}

function readFacts(paths: Paths, { text }: Stamp): Map<string, ImageFacts> | undefined {
  try {
    return readJson(paths.imageFacts, (value) => {
      const found = new Map<string, ImageFacts>();
      if (typeof value !== 'object' || value === null || !('stamp' in value && 'images' in value))
        return undefined;
      if (value.stamp !== text || !Array.isArray(value.images)) return undefined;
      for (const one of value.images) {
        if (!Array.isArray(one)) return undefined;
        const [id, created, size]: readonly unknown[] = one;
        if (typeof id !== 'string' || typeof created !== 'string' || typeof size !== 'number')
          return undefined;
        found.set(id, { created, size });
      }
      return found;
    });
  } catch {
    return undefined;
  }
}

function writeFacts(paths: Paths, { text, isSettled }: Stamp, images: readonly StoredImage[]): void {
  if (!isSettled) return;
  try {
    makePrivateDirectory(paths.cache);
    const facts = images.map(({ id, created = '', size }) => [id, created, size]);
    writeJson(paths.imageFacts, { stamp: text, images: facts }, { durable: false });
  } catch {
    // A store that cannot be written is read all the same.
  }
}
