import type { Paths } from '../disk/paths.ts';
import { TinyrunError } from '../errors.ts';
import { type Digest, shortId } from '../oci/digest.ts';
import type { Descriptor, Manifest } from '../oci/image-spec.ts';
import { isForeign, parseDocument } from '../registry/manifest.ts';
import { canonicalRepository, parseReference, type Reference } from '../registry/reference.ts';
import { blobSize, digestOf, readDocument } from './blobs.ts';
import { readIndex, repositoryOf } from './index-file.ts';
import { readManifest, type StoredImage } from './stored-image.ts';

/** A manifest or an index, with the very bytes that go to the registry. */
export interface PushDocument {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly bytes: Uint8Array;
}

/** What a push sends, from the bottom up. */
export interface PushPlan {
  /** Each blob once. */
  readonly layers: readonly Descriptor[];
  readonly configs: readonly Descriptor[];
  /** Below an index; put by digest, before it. */
  readonly manifests: readonly PushDocument[];
  /** What the tag will name. */
  readonly top: PushDocument;
  /** For an index: how many of its images go with it. */
  readonly platforms?: { readonly present: number; readonly total: number };
}

/**
 * What to send of an image. Its manifest as it is; or, for all platforms, its index: as it is where all its images are in
 * the store, else with those that are.
 * @throws TinyrunError `not_found` where a blob is missing
 */
export function planPush(
  paths: Paths,
  image: Pick<StoredImage, 'manifestDigest' | 'targetDigest'>,
  allPlatforms: boolean,
): PushPlan {
  if (!allPlatforms || image.manifestDigest === image.targetDigest) {
    const document = documentOf(paths, image.manifestDigest);
    const manifest = readManifest(paths, image.manifestDigest);
    requireBlobs(paths, manifest);
    return { ...blobsOf([manifest]), manifests: [], top: document };
  }
  const index = documentOf(paths, image.targetDigest);
  const listed = parseDocument(index.bytes, index.mediaType);
  const entries = listed.kind === 'index' ? listed.index.manifests : [];
  const present = entries.filter(({ digest }) => isWhole(paths, digest));
  const manifests = present.map(({ digest }) => readManifest(paths, digest));
  return {
    ...blobsOf(manifests),
    manifests: present.map(({ digest }) => documentOf(paths, digest)),
    top:
      present.length === entries.length
        ? index
        : reduced(index, new Set(present.map(({ digest }) => digest))),
    platforms: { present: present.length, total: entries.length },
  };
}

/**
 * Repositories of the same registry that have a blob, as far as this store has pulled from them or pushed to them: by
 * digest, as paths such as `library/busybox`.
 */
export function mountSources(paths: Paths, target: Reference): ReadonlyMap<Digest, readonly string[]> {
  const sources = new Map<Digest, string[]>();
  for (const { pulledFrom, images = [] } of readIndex(paths).entries) {
    if (pulledFrom === undefined || pulledFrom === canonicalRepository(target)) continue;
    const { registry, repository } = parseReference(repositoryOf(pulledFrom));
    if (registry !== target.registry) continue;
    for (const { manifest: digest } of images) {
      if (readDocument(paths, digest) === undefined) continue;
      const { config, layers } = readManifest(paths, digest);
      for (const blob of [config, ...layers]) {
        const known = sources.get(blob.digest) ?? [];
        if (!known.includes(repository)) sources.set(blob.digest, [...known, repository]);
      }
    }
  }
  return sources;
}

function documentOf(paths: Paths, digest: Digest): PushDocument {
  const bytes = readDocument(paths, digest);
  if (bytes === undefined) throw missing(`manifest "${shortId(digest)}"`);
  const document = parseDocument(bytes);
  const { mediaType } = document.kind === 'index' ? document.index : document.manifest;
  return { digest, mediaType, bytes };
}

function blobsOf(manifests: readonly Manifest[]): Pick<PushPlan, 'layers' | 'configs'> {
  const layers = manifests.flatMap((manifest) => manifest.layers.filter((layer) => !isForeign(layer)));
  return { layers: unique(layers), configs: unique(manifests.map(({ config }) => config)) };
}

function unique(descriptors: readonly Descriptor[]): Descriptor[] {
  return [...new Map(descriptors.map((one) => [one.digest, one])).values()];
}

function requireBlobs(paths: Paths, manifest: Manifest): void {
  for (const blob of [manifest.config, ...manifest.layers]) {
    if (isForeign(blob) || blobSize(paths, blob.digest) === blob.size) continue;
    throw missing(`layer "${shortId(blob.digest)}"`);
  }
}

function isWhole(paths: Paths, digest: Digest): boolean {
  const bytes = readDocument(paths, digest);
  if (bytes === undefined) return false;
  try {
    const document = parseDocument(bytes);
    if (document.kind !== 'manifest') return false;
    requireBlobs(paths, document.manifest);
    return true;
  } catch (error) {
    // An attestation, or an image of which only the manifest was fetched.
    if (error instanceof TinyrunError) return false;
    throw error;
  }
}

/** The index with some of its entries, all else as its author wrote it. */
function reduced(index: PushDocument, present: ReadonlySet<string>): PushDocument {
  const raw = JSON.parse(Buffer.from(index.bytes).toString('utf8')) as {
    readonly manifests: readonly { readonly digest: string }[];
  };
  const manifests = raw.manifests.filter(({ digest }) => present.has(digest));
  const bytes = Buffer.from(JSON.stringify({ ...raw, manifests }));
  return { digest: digestOf(bytes), mediaType: index.mediaType, bytes };
}

function missing(what: string): TinyrunError {
  return new TinyrunError('not_found', `Cannot push: ${what} is missing from the store`, {
    hint: 'Pull the image again',
  });
}
