import type { Digest } from '../oci/digest.ts';
import type { Descriptor, Platform } from '../oci/image-spec.ts';
import { selectManifest } from '../registry/platform.ts';
import type { Reference } from '../registry/reference.ts';
import type { FetchedManifest, Registry } from '../registry/registry.ts';
import { parseServedManifest, type ServedManifest } from '../registry/server/served-manifest.ts';
import type { UploadSource } from '../registry/upload.ts';
import type { PushDocument, PushPlan } from './push-plan.ts';

export interface CopyChoice {
  /** Which image of an index. */
  readonly platform: Platform;
  /** The index with everything below it, artifacts too. */
  readonly allPlatforms: boolean;
}

/** Indexes below indexes. */
const DEEPEST = 4;
const MOST_MANIFESTS = 4096;

/**
 * What to copy of an image in a registry or in an archive: its documents, read and verified, and the blobs that they name.
 * @throws TinyrunError `not_found` for a platform that is not there
 */
export async function planCopy(
  registry: Registry,
  reference: Reference,
  choice: CopyChoice,
): Promise<PushPlan> {
  let top: FetchedManifest = await registry.manifest(reference);
  let parsed = parseServedManifest(top.bytes, top.mediaType);
  for (let depth = 0; !choice.allPlatforms && isIndex(parsed) && depth < DEEPEST; depth += 1) {
    const { mediaType, manifests } = parsed;
    const descriptor = selectManifest({ mediaType, manifests }, choice.platform);
    top = await registry.manifestByDigest(reference, descriptor);
    parsed = parseServedManifest(top.bytes, descriptor.mediaType);
  }
  const found: Found = { documents: new Map(), layers: new Map(), configs: new Map() };
  await collect({ registry, reference, found }, parsed, 0);
  found.documents.delete(top.digest);
  return {
    layers: [...found.layers.values()],
    configs: [...found.configs.values()],
    manifests: [...found.documents.values()],
    top,
  };
}

interface Found {
  readonly documents: Map<Digest, PushDocument>;
  readonly layers: Map<Digest, Descriptor>;
  readonly configs: Map<Digest, Descriptor>;
}

interface Collecting {
  readonly registry: Registry;
  readonly reference: Reference;
  readonly found: Found;
}

/** From the bottom up: a registry wants the parts of an index before it. */
async function collect(into: Collecting, parsed: ServedManifest, depth: number): Promise<void> {
  const { registry, reference, found } = into;
  const [config, ...layers] = parsed.blobs;
  if (config !== undefined) found.configs.set(config.digest, config);
  for (const layer of layers) found.layers.set(layer.digest, layer);
  for (const descriptor of depth < DEEPEST ? parsed.manifests : []) {
    if (found.documents.has(descriptor.digest) || found.documents.size >= MOST_MANIFESTS) continue;
    const below = await registry.manifestByDigest(reference, descriptor);
    await collect(into, parseServedManifest(below.bytes, descriptor.mediaType), depth + 1);
    found.documents.set(below.digest, below);
  }
}

function isIndex({ manifests }: ServedManifest): boolean {
  return manifests.length > 0;
}

/** The blobs of a registry or an archive, piece by piece. Who receives them verifies them. */
export function blobsOf(registry: Registry, reference: Reference): (blob: Descriptor) => UploadSource {
  return (descriptor) => (first, last) => pieces(registry, reference, { descriptor, first, last });
}

async function* pieces(
  registry: Registry,
  reference: Reference,
  wanted: { readonly descriptor: Descriptor; readonly first: number; readonly last: number },
): AsyncGenerator<Uint8Array, void, undefined> {
  const { descriptor, first, last } = wanted;
  if (last < first) return;
  const { start, body, close } = await registry.blob(reference, descriptor, first);
  let position = start;
  try {
    for await (const chunk of body) {
      // A server that ignores the range begins at the beginning.
      const from = Math.max(0, first - position);
      const to = Math.min(chunk.byteLength, last + 1 - position);
      if (to > from) yield chunk.subarray(from, to);
      position += chunk.byteLength;
      if (position > last) return;
    }
  } finally {
    close();
  }
}

/** The platforms of an image: of an index, all that its entries name; of a manifest, undefined for what it is. */
export async function platformsIn(
  registry: Registry,
  reference: Reference,
): Promise<(Platform | undefined)[]> {
  const { bytes, mediaType } = await registry.manifest(reference);
  const { manifests } = parseServedManifest(bytes, mediaType);
  if (manifests.length === 0) return [undefined];
  return manifests.flatMap(({ platform, annotations = {} }) => {
    // BuildKit's attestations are no images.
    const isImage = platform?.os !== 'unknown' && annotations['vnd.docker.reference.type'] === undefined;
    return platform !== undefined && isImage ? [platform] : [];
  });
}
