import type { Paths } from '../disk/paths.ts';
import { errorCode, TinyrunError } from '../errors.ts';
import type { Digest } from '../oci/digest.ts';
import type { Descriptor, ImageConfig, Manifest, Platform } from '../oci/image-spec.ts';
import { parseImageConfig } from '../registry/image-config.ts';
import { parseDocument } from '../registry/manifest.ts';
import { selectManifest } from '../registry/platform.ts';
import { readDocument } from './blobs.ts';
import type { ImageKey, IndexEntry } from './index-file.ts';
import { readLayerRecord } from './layer-record.ts';
import { isUnpacked, layerName } from './layers.ts';

/** An image of one platform, as `images`, `inspect` and `run` see it. */
export interface StoredImage {
  /** The digest of the config. */
  readonly id: Digest;
  /** Canonical names: `docker.io/library/busybox:latest`. */
  readonly references: readonly string[];
  /** `docker.io/library/busybox@sha256:…` for each repository it was pulled from. */
  readonly repoDigests: readonly string[];
  readonly manifestDigest: Digest;
  /** What the name points to: the index where there is one, else the manifest. */
  readonly targetDigest: Digest;
  readonly config: ImageConfig;
  /** Read from the store when asked for: `run` does without. */
  readonly manifest: Manifest;
  /** RFC 3339, as the image's author wrote it. */
  readonly created?: string;
  /** Bytes of the unpacked layers, as Docker's SIZE, or of the blobs where they are not; read when asked for. */
  readonly size: number;
}

export interface ImageNames {
  readonly references: readonly string[];
  readonly repoDigests: readonly string[];
  readonly targetDigest: Digest;
}

/**
 * Reads the config of an image: one small synchronous read.
 * @throws TinyrunError `internal` where it is missing or damaged
 */
export function loadImage(paths: Paths, key: ImageKey, names: ImageNames): StoredImage {
  const config = parseImageConfig(required(paths, key.id));
  return {
    id: key.id,
    ...names,
    manifestDigest: key.manifest,
    config,
    ...(config.created === undefined ? {} : { created: config.created }),
    get manifest(): Manifest {
      return readManifest(paths, key.manifest);
    },
    get size(): number {
      const diffIds = config.rootfs.diff_ids;
      if (isUnpacked(paths, diffIds)) return unpackedSize(paths, diffIds);
      return readManifest(paths, key.manifest).layers.reduce((sum, { size }) => sum + size, 0);
    },
  };
}

/** The same of an image whose facts are known already: its config is read when asked for. */
export function listedImage(
  paths: Paths,
  key: ImageKey,
  names: ImageNames,
  { created, size }: { readonly created: string; readonly size: number },
): StoredImage {
  let config: ImageConfig | undefined;
  return {
    id: key.id,
    ...names,
    manifestDigest: key.manifest,
    get config(): ImageConfig {
      config ??= parseImageConfig(required(paths, key.id));
      return config;
    },
    ...(created === '' ? {} : { created }),
    get manifest(): Manifest {
      return readManifest(paths, key.manifest);
    },
    size,
  };
}

/** @throws TinyrunError `internal` where it is missing, damaged, or an index */
export function readManifest(paths: Paths, digest: Digest): Manifest {
  const document = parseDocument(required(paths, digest));
  if (document.kind === 'manifest') return document.manifest;
  throw new TinyrunError('internal', `Cannot use blob "${digest}": it is an index, expected a manifest`);
}

/**
 * The images of an entry, the preferred one first. Those of an entry that another program wrote (skopeo copies into the
 * store) are found by looking which manifests of its target are there.
 */
export function imagesOf(paths: Paths, entry: IndexEntry, host: Platform): readonly ImageKey[] {
  if (entry.images !== undefined) return entry.images;
  const bytes = readDocument(paths, entry.target.digest);
  if (bytes === undefined) return [];
  try {
    const document = parseDocument(bytes, entry.target.mediaType);
    if (document.kind === 'manifest') {
      return [{ manifest: entry.target.digest, id: document.manifest.config.digest }];
    }
    const present = document.index.manifests.filter((one) => readDocument(paths, one.digest) !== undefined);
    return preferredFirst(present, host).flatMap((one) => imageIn(paths, one.digest));
  } catch (error) {
    // Artifacts and documents of kinds that tinyrun does not know may lie in a shared layout: they are no images.
    if (error instanceof TinyrunError) return [];
    throw error;
  }
}

/** An artifact beside the images of an index is no image. */
function imageIn(paths: Paths, manifest: Digest): ImageKey[] {
  try {
    const { config } = readManifest(paths, manifest);
    return readDocument(paths, config.digest) === undefined ? [] : [{ manifest, id: config.digest }];
  } catch (error) {
    if (error instanceof TinyrunError) return [];
    throw error;
  }
}

/** The entries of the index, each with its images; one that has none that tinyrun knows is as it was. */
export function resolvedEntries(
  paths: Paths,
  entries: readonly IndexEntry[],
  host: Platform,
): readonly IndexEntry[] {
  return entries.map((entry) => {
    if (entry.images !== undefined) return entry;
    const images = imagesOf(paths, entry, host);
    return images.length === 0 ? entry : { ...entry, images };
  });
}

function preferredFirst(manifests: readonly Descriptor[], host: Platform): readonly Descriptor[] {
  if (manifests.length < 2) return manifests;
  try {
    const first = selectManifest({ mediaType: '', manifests }, host);
    return [first, ...manifests.filter((one) => one !== first)];
  } catch {
    return manifests;
  }
}

function required(paths: Paths, digest: Digest): Buffer {
  const bytes = readDocument(paths, digest);
  if (bytes !== undefined) return bytes;
  throw new TinyrunError('internal', `Cannot read blob "${digest}": it is missing from the store`, {
    hint: 'Pull the image again',
  });
}

function unpackedSize(paths: Paths, diffIds: readonly Digest[]): number {
  let sum = 0;
  for (let position = 0; position < diffIds.length; position += 1) {
    const name = layerName(paths, diffIds, position);
    try {
      if (name !== undefined) sum += readLayerRecord(paths, name)?.bytes ?? 0;
    } catch (error) {
      // A size is no reason to fail a listing.
      if (errorCode(error) !== undefined) throw error;
    }
  }
  return sum;
}
