import { TinyrunError } from '../errors.ts';
import type { Digest } from '../oci/digest.ts';
import type { Descriptor, ImageConfig, Manifest, Platform } from '../oci/image-spec.ts';
import { LONGEST_CONFIG, parseImageConfig, requireSameLayers } from '../registry/image-config.ts';
import { layerCompression, parseDocument } from '../registry/manifest.ts';
import { formatPlatform, runsOn, selectManifest } from '../registry/platform.ts';
import { canonicalRepository, familiarName, type Reference, withDefaultTag } from '../registry/reference.ts';
import type { Registry } from '../registry/registry.ts';
import { readVerifiedDocument, writeDocument } from './blobs.ts';
import { diskFullError, isDiskFull } from './disk-full.ts';
import type { ImageSource, Target } from './index-file.ts';
import { noteUse } from './last-used.ts';
import { requireStackable } from './layers.ts';
import { entryName } from './lookup.ts';
import type { PullEvent } from './pull-events.ts';
import { type PulledLayers, pullLayers } from './pull-layers.ts';
import type { Store } from './store.ts';
import type { StoredImage } from './stored-image.ts';
import type { UnpackLayer } from './unpack.ts';

export type { PullEvent } from './pull-events.ts';

export interface PullOptions {
  /** Default: this machine. */
  readonly platform?: Platform;
  readonly onEvent: (event: PullEvent) => void;
  /** Aborting leaves what was downloaded for the next pull. */
  readonly signal?: AbortSignal;
  /** Downloads at a time, default 3. */
  readonly jobs?: number;
  /** The native unpacker. */
  readonly unpackerPath: string;
  /** The name that the image gets; default: the reference, as pulled from its repository. */
  readonly naming?: ImageSource;
  /** Told what was chosen before a layer is downloaded; what it throws ends the pull. */
  readonly verify?: (chosen: { readonly target: Digest; readonly manifest: Digest }) => Promise<void>;
  /** Default: unpackLayer(). */
  readonly unpack?: UnpackLayer;
}

export interface PullResult {
  readonly image: StoredImage;
  /** What the reference resolved to: an index or a manifest. */
  readonly digest: Digest;
  readonly status: 'downloaded' | 'up-to-date';
}

/**
 * Brings an image into the store and names it: manifest, config and layers are fetched only where they are missing,
 * every one verified, and the name is given last. Whatever interrupts it leaves the store as it was, but for partial
 * downloads, which the next pull goes on with.
 * @throws TinyrunError; RegistryError for what the registry did
 */
export async function pull(
  store: Store,
  registry: Registry,
  reference: Reference,
  options: PullOptions,
): Promise<PullResult> {
  const wanted = withDefaultTag(reference);
  const lease = await store.lease();
  let layers: PulledLayers | undefined;
  let isFull = false;
  try {
    await store.repair();
    options.signal?.throwIfAborted();
    const source = { store, registry, reference: wanted };
    const chosen = await chooseImage(source, options.platform);
    await options.verify?.({ target: chosen.target.digest, manifest: chosen.manifestDigest });
    layers = pullLayers(source, chosen, options);
    const { fetched } = await layers.done;
    const { changed } = await store.add({
      ...(options.naming ?? { name: entryName(wanted), pulledFrom: canonicalRepository(wanted) }),
      target: chosen.target,
      key: { manifest: chosen.manifestDigest, id: chosen.manifest.config.digest },
      preferred: chosen.preferred,
    });
    noteUse(store.paths, chosen.manifest.config.digest);
    const image = store.resolve(chosen.manifest.config.digest);
    if (image === undefined) throw new Error('an image that was just added is not in the store');
    const isNew = changed || fetched || chosen.fetched;
    return { image, digest: chosen.target.digest, status: isNew ? 'downloaded' : 'up-to-date' };
  } catch (error) {
    isFull = isDiskFull(error);
    throw isFull ? diskFullError(familiarName(wanted), store.paths.root, error) : error;
  } finally {
    lease.release();
    if (isFull) layers?.giveBack();
  }
}

/** Where a pull comes from and goes to. */
export interface PullSource {
  readonly store: Store;
  readonly registry: Registry;
  readonly reference: Reference;
  /** Nothing is kept of what is fetched. */
  readonly isTrial?: boolean;
}

/** The image of one platform that a reference stands for. */
export interface ChosenImage {
  readonly target: Target;
  readonly manifestDigest: Digest;
  readonly manifest: Manifest;
  readonly config: ImageConfig;
  /** What this machine would choose of the target. */
  readonly preferred: boolean;
  /** Whether any of its documents was not in the store. */
  readonly fetched: boolean;
}

/** @throws TinyrunError `not_found` for a platform that is not there */
export async function chooseImage(source: PullSource, platform: Platform | undefined): Promise<ChosenImage> {
  const { host } = source.store;
  const top = await targetOf(source);
  const document = parseDocument(top.bytes, top.mediaType);
  const target = { mediaType: top.mediaType, digest: top.digest, size: top.bytes.byteLength };
  if (document.kind === 'manifest') {
    const read = await configOf(source, document.manifest);
    requirePlatform(source.reference, read.config, platform);
    return {
      target,
      manifestDigest: top.digest,
      manifest: document.manifest,
      config: read.config,
      preferred: true,
      fetched: top.fetched || read.fetched,
    };
  }
  const descriptor = selectManifest(document.index, platform ?? host);
  const below = await manifestBelow(source, descriptor);
  const read = await configOf(source, below.manifest);
  return {
    target,
    manifestDigest: descriptor.digest,
    manifest: below.manifest,
    config: read.config,
    preferred: platform === undefined || hostsChoice(document.index.manifests, host) === descriptor.digest,
    fetched: top.fetched || below.fetched || read.fetched,
  };
}

interface Fetched {
  readonly bytes: Uint8Array;
  readonly mediaType: string;
  readonly digest: Digest;
  readonly fetched: boolean;
}

/** A HEAD first: it does not count against rate limits, and says whether what the store has is current. */
async function targetOf({ store, registry, reference, isTrial }: PullSource): Promise<Fetched> {
  const head = await registry.headManifest(reference);
  const known = head === undefined ? undefined : readVerifiedDocument(store.paths, head.digest);
  if (head !== undefined && known !== undefined) {
    const document = parseDocument(known);
    const { mediaType } = document.kind === 'index' ? document.index : document.manifest;
    return { bytes: known, mediaType, digest: head.digest, fetched: false };
  }
  const { bytes, mediaType, digest } = await registry.manifest(reference);
  // Parsed before it is written: what is no image at all has no place in the store.
  parseDocument(bytes, mediaType);
  return { bytes, mediaType, digest, fetched: isTrial === true || writeDocument(store.paths, digest, bytes) };
}

async function manifestBelow(
  { store, registry, reference, isTrial }: PullSource,
  descriptor: Descriptor,
): Promise<{ manifest: Manifest; fetched: boolean }> {
  const known = readVerifiedDocument(store.paths, descriptor.digest);
  const bytes = known ?? (await registry.manifestByDigest(reference, descriptor)).bytes;
  const document = parseDocument(bytes, descriptor.mediaType);
  if (document.kind !== 'manifest') {
    throw new TinyrunError(
      'unsupported',
      `Cannot pull "${familiarName(reference)}": its index names another index, expected a manifest`,
    );
  }
  if (known === undefined && isTrial !== true) writeDocument(store.paths, descriptor.digest, bytes);
  return { manifest: document.manifest, fetched: known === undefined };
}

async function configOf(
  source: PullSource,
  manifest: Manifest,
): Promise<{ config: ImageConfig; fetched: boolean }> {
  // Refused before anything large is downloaded.
  for (const layer of manifest.layers) layerCompression(layer);
  const known = readVerifiedDocument(source.store.paths, manifest.config.digest);
  const bytes = known ?? (await source.registry.blobBytes(source.reference, manifest.config, LONGEST_CONFIG));
  const config = parseImageConfig(bytes);
  requireSameLayers(manifest, config);
  requireStackable(config.rootfs.diff_ids);
  if (known === undefined && source.isTrial !== true)
    writeDocument(source.store.paths, manifest.config.digest, bytes);
  return { config, fetched: known === undefined };
}

function hostsChoice(manifests: readonly Descriptor[], host: Platform): Digest | undefined {
  try {
    return selectManifest({ mediaType: '', manifests }, host).digest;
  } catch {
    return undefined;
  }
}

/** Docker's text for an image without an index. */
function requirePlatform(reference: Reference, config: ImageConfig, wanted: Platform | undefined): void {
  const { os, architecture, variant } = config;
  const offered = { os, architecture, ...(variant === undefined ? {} : { variant }) };
  if (wanted === undefined || runsOn(offered, wanted)) return;
  throw new TinyrunError(
    'not_found',
    `image with reference ${familiarName(reference)} was found but its platform (${formatPlatform(offered)}) ` +
      `does not match the specified platform (${formatPlatform(wanted)})`,
  );
}
