import { TinyrunError } from '../errors.ts';
import type { Digest } from '../oci/digest.ts';
import { type Descriptor, MEDIA_TYPE, type Platform } from '../oci/image-spec.ts';
import { LONGEST_CONFIG, parseImageConfig } from '../registry/image-config.ts';
import { shapeOf } from '../registry/json-shape.ts';
import { LONGEST_MANIFEST, parseDocument } from '../registry/manifest.ts';
import { formatPlatform } from '../registry/platform.ts';
import { canonicalName, parseReference, type Reference } from '../registry/reference.ts';
import type { Archive } from './archive.ts';
import { archiveRegistry } from './archive-registry.ts';
import { digestOf } from './blobs.ts';
import { sniff } from './decompress.ts';
import { type PullOptions, pull } from './pull.ts';
import type { Store } from './store.ts';

export interface LoadedImage {
  readonly id: Digest;
  /** Canonical; absent for an image that the archive gives no name. */
  readonly name?: string;
}

export type LoadOptions = Pick<PullOptions, 'platform' | 'onEvent' | 'signal' | 'unpackerPath' | 'unpack'>;

/** An image that an archive has: what its name points to. */
export interface Listed {
  readonly digest: Digest;
  readonly names: readonly string[];
}

/**
 * Brings the images of an archive into the store, with the names that they have there: an OCI layout, what `docker save`
 * writes, or both in one, of which the layout counts, because it has the manifests themselves.
 * @throws TinyrunError `invalid`; what was loaded before the error stays
 */
export async function load(store: Store, archive: Archive, options: LoadOptions): Promise<LoadedImage[]> {
  const made = new Map<Digest, Uint8Array>();
  const listed = layoutImages(archive) ?? dockerImages(archive, made);
  if (listed === undefined) {
    throw new TinyrunError(
      'invalid',
      'Cannot load the archive: it has neither "index.json" nor "manifest.json"',
    );
  }
  const registry = archiveRegistry(archive, made);
  const loaded: LoadedImage[] = [];
  for (const { digest, names } of listed) {
    const platforms = platformsOf(archive, digest, options.platform);
    // Without a name it is loaded once, all the same.
    for (const name of names.length > 0 ? names : [undefined]) {
      const reference: Reference = {
        ...(name === undefined ? { registry: 'archive', repository: 'image' } : parseReference(name)),
        digest,
      };
      let id: Digest | undefined;
      for (const platform of platforms) {
        const { platform: _, ...rest } = options;
        const naming = name === undefined ? {} : { name };
        const how = { ...rest, ...(platform === undefined ? {} : { platform }), naming };
        const { image } = await pull(store, registry, reference, how);
        id ??= image.id;
      }
      if (id !== undefined) loaded.push({ id, ...(name === undefined ? {} : { name }) });
    }
  }
  return loaded;
}

const CONTAINERD_NAME = 'io.containerd.image.name';
const REF_NAME = 'org.opencontainers.image.ref.name';

/** @see https://github.com/opencontainers/image-spec/blob/main/image-layout.md */
function layoutImages(archive: Archive): Listed[] | undefined {
  const file = archive.find('index.json');
  if (file === undefined) return undefined;
  const document = parseDocument(archive.read(file, LONGEST_MANIFEST));
  if (document.kind !== 'index' || document.index.manifests.length === 0) return undefined;
  const names = new Map<Digest, Set<string>>();
  for (const { digest, annotations = {} } of document.index.manifests) {
    const all = names.get(digest) ?? new Set();
    const name = nameOf(annotations, archive.find('manifest.json') !== undefined);
    if (name !== undefined) all.add(name);
    names.set(digest, all);
  }
  return [...names].map(([digest, all]) => ({ digest, names: [...all] }));
}

/** @param isDocker docker's archives have the bare tag where others have the name */
function nameOf(annotations: Readonly<Record<string, string>>, isDocker: boolean): string | undefined {
  const refName = annotations[REF_NAME];
  const isWhole = refName !== undefined && (/[/:]/.test(refName) || !isDocker);
  const text = annotations[CONTAINERD_NAME] ?? (isWhole ? refName : undefined);
  if (text === undefined) return undefined;
  try {
    const { digest, ...reference } = parseReference(text);
    return digest === undefined ? canonicalName(reference) : undefined;
  } catch {
    // A layout's reference names may be any text: such an image comes without a name.
    return undefined;
  }
}

/**
 * The images of `manifest.json`. It has no manifests in the sense of a registry: one is made for each image, always the same
 * for the same content.
 * @see https://github.com/moby/docker-image-spec/blob/main/spec.md#combined-image-json--filesystem-changeset-format
 */
export function dockerImages(archive: Archive, made: Map<Digest, Uint8Array>): Listed[] | undefined {
  const file = archive.find('manifest.json');
  if (file === undefined) return undefined;
  let list: unknown;
  try {
    list = JSON.parse(archive.read(file, LONGEST_MANIFEST).toString('utf8'));
  } catch (error) {
    if (error instanceof TinyrunError) throw error;
    throw new TinyrunError('invalid', 'Cannot load the archive: "manifest.json" is not valid JSON');
  }
  const shape = shapeOf('manifest.json');
  if (!Array.isArray(list)) throw shape.fail('manifest.json', 'a list');
  return list.map((one: unknown, at) => {
    const entry = shape.object(one, `[${at}]`);
    const within = shape.within(`[${at}]`);
    const layers = (within.texts(entry, 'Layers') ?? []).map((name) => layerDescriptor(archive, name));
    const config = memberOf(archive, within.text(entry, 'Config') ?? '');
    const manifest = {
      schemaVersion: 2,
      mediaType: MEDIA_TYPE.ociManifest,
      config: { mediaType: MEDIA_TYPE.ociConfig, digest: config.digest, size: config.size },
      layers,
    };
    const bytes = Buffer.from(JSON.stringify(manifest));
    const digest = digestOf(bytes);
    made.set(digest, bytes);
    const names = (within.texts(entry, 'RepoTags') ?? []).map((name) => canonicalName(parseReference(name)));
    return { digest, names };
  });
}

function layerDescriptor(archive: Archive, name: string): Descriptor {
  const { digest, size, start } = memberOf(archive, name);
  const format = sniff(start);
  const mediaType =
    format === 'gzip'
      ? MEDIA_TYPE.ociLayerGzip
      : format === 'zstd'
        ? MEDIA_TYPE.ociLayerZstd
        : MEDIA_TYPE.ociLayer;
  return { mediaType, digest, size };
}

function memberOf(archive: Archive, name: string): NonNullable<ReturnType<Archive['find']>> {
  const file = archive.find(name);
  if (file !== undefined) return file;
  const shown = JSON.stringify(name.slice(0, 100));
  throw new TinyrunError('invalid', `Cannot load the archive: it has no member ${shown}`);
}

/** The platforms of an index that the archive has whole; one undefined, for what is no index. */
export function platformsOf(
  archive: Archive,
  digest: Digest,
  wanted: Platform | undefined,
): readonly (Platform | undefined)[] {
  if (wanted !== undefined) return [wanted];
  const file = archive.withDigest(digest);
  const document = file === undefined ? undefined : parseDocument(archive.read(file, LONGEST_MANIFEST));
  if (document?.kind !== 'index') return [undefined];
  const found = new Map<string, Platform>();
  for (const entry of document.index.manifests) {
    const platform = platformIn(archive, entry.digest);
    if (platform !== undefined) found.set(formatPlatform(platform), platform);
  }
  return found.size === 0 ? [undefined] : [...found.values()];
}

function platformIn(archive: Archive, digest: Digest): Platform | undefined {
  const file = archive.withDigest(digest);
  if (file === undefined) return undefined;
  try {
    const document = parseDocument(archive.read(file, LONGEST_MANIFEST));
    const config =
      document.kind === 'manifest' ? archive.withDigest(document.manifest.config.digest) : undefined;
    if (config === undefined) return undefined;
    const { os, architecture, variant } = parseImageConfig(archive.read(config, LONGEST_CONFIG));
    return { os, architecture, ...(variant === undefined ? {} : { variant }) };
  } catch (error) {
    // An attestation beside the images.
    if (error instanceof TinyrunError) return undefined;
    throw error;
  }
}
