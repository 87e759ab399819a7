import { TinyrunError } from '../errors.ts';
import {
  changeList,
  documentOf,
  type ListEntry,
  type ListPlatform,
  type ManifestList,
  readList,
  removeList,
  withEntry,
} from '../image/manifest-lists.ts';
import type { Digest } from '../oci/digest.ts';
import type { Descriptor } from '../oci/image-spec.ts';
import { isKnownPlatform } from '../registry/platform.ts';
import {
  canonicalName,
  canonicalRepository,
  parseReference,
  type Reference,
  withDefaultTag,
} from '../registry/reference.ts';
import type { Registry } from '../registry/registry.ts';
import type { Core } from './core.ts';
import { registryOptions } from './registry-options.ts';
import type { RemoteHow } from './remote.ts';

/** `manifest create`: a list of manifests that are in registries. @returns its canonical name */
export async function createManifestList(
  core: Core,
  text: string,
  images: readonly string[],
  how: RemoteHow & { readonly amend?: boolean } = {},
): Promise<string> {
  const name = nameOf(text);
  if (readList(core.paths, name) !== undefined && how.amend !== true) {
    throw new TinyrunError('conflict', 'refusing to amend an existing manifest list with no --amend flag');
  }
  const registry = await openFor(core, how);
  try {
    const entries: ListEntry[] = [];
    for (const image of images) entries.push(await entryOf(registry, image));
    await changeList(core.paths, name, (list = { name, entries: [] }) => entries.reduce(withEntry, list));
    return name;
  } finally {
    registry.close();
  }
}

async function entryOf(registry: Registry, image: string): Promise<ListEntry> {
  const [{ parseDocument }, { LONGEST_CONFIG, parseImageConfig }] = await Promise.all([
    import('../registry/manifest.ts'),
    import('../registry/image-config.ts'),
  ]);
  const reference = withDefaultTag(parseReference(image));
  const { bytes, mediaType, digest } = await registry.manifest(reference);
  const document = parseDocument(bytes, mediaType);
  if (document.kind === 'index') throw new TinyrunError('invalid', `${image} is a manifest list`);
  const config = parseImageConfig(
    await registry.blobBytes(reference, document.manifest.config, LONGEST_CONFIG),
  );
  const { os, architecture, variant } = config;
  return {
    reference: canonicalName(reference),
    descriptor: { mediaType, digest, size: bytes.byteLength },
    platform: { os, architecture, ...(variant === undefined ? {} : { variant }) },
    bytes: Buffer.from(bytes).toString('base64'),
  };
}

export interface Annotation {
  readonly os?: string;
  readonly architecture?: string;
  readonly variant?: string;
  readonly osVersion?: string;
  readonly osFeatures?: readonly string[];
}

/** `manifest annotate`. @throws TinyrunError `not_found`, `invalid` in Docker's words */
export async function annotateManifestList(
  core: Core,
  text: string,
  image: string,
  annotation: Annotation,
): Promise<void> {
  const reference = nameOf(image);
  await changeList(core.paths, nameOf(text), (list) => {
    const entry = list?.entries.find((one) => one.reference === reference);
    if (list === undefined || entry === undefined)
      throw new TinyrunError('not_found', `manifest for image ${image} does not exist in ${text}`);
    return withEntry(list, { ...entry, platform: annotated(entry.platform, annotation) });
  });
}

function annotated(platform: ListPlatform, annotation: Annotation): ListPlatform {
  const { os = platform.os, architecture = platform.architecture, osFeatures = [] } = annotation;
  const variant = annotation.variant ?? platform.variant;
  const version = annotation.osVersion ?? platform['os.version'];
  const features = [...new Set([...(platform['os.features'] ?? []), ...osFeatures])];
  if (!isKnownPlatform({ os, architecture })) {
    throw new TinyrunError(
      'invalid',
      `manifest entry for image has unsupported os/arch combination: ${os}/${architecture}`,
    );
  }
  return {
    architecture,
    os,
    ...(version === undefined ? {} : { 'os.version': version }),
    ...(features.length === 0 ? {} : { 'os.features': features }),
    ...(variant === undefined ? {} : { variant }),
  };
}

/** The document of a list that is being made; undefined where there is none of this name. */
export function localManifestList(core: Core, text: string): Uint8Array | undefined {
  const list = readList(core.paths, nameOf(text));
  return list === undefined ? undefined : documentOf(list).bytes;
}

export interface PushedList {
  readonly digest: Digest;
  /** Manifests that were put into the list's repository for it. */
  readonly pushed: readonly { readonly reference: string; readonly digest: Digest }[];
}

/**
 * `manifest push`: the list, and those of its manifests that are in other repositories, with their blobs, which a registry
 * takes over by itself where it can.
 */
export async function pushManifestList(
  core: Core,
  text: string,
  how: RemoteHow & { readonly purge?: boolean } = {},
): Promise<PushedList> {
  const name = nameOf(text);
  const list = readList(core.paths, name);
  if (list === undefined) throw noSuchList(name);
  const [{ openPusher }, { push }, { blobsOf }, { digestOf }] = await Promise.all([
    import('../registry/push-client.ts'),
    import('../image/push.ts'),
    import('../image/copy.ts'),
    import('../image/blobs.ts'),
  ]);
  const goal = parseReference(name);
  const document = documentOf(list);
  const top = { ...document, digest: digestOf(document.bytes) };
  const foreign = list.entries.filter((entry) => !isIn(goal, parseReference(entry.reference)));
  const registry = await openFor(core, how);
  const options = { ...registryOptions(core, how.signal), insecure: how.insecure ?? false };
  const pusher = openPusher(goal, options);
  try {
    const { homes, layers, configs } = await partsOf(foreign);
    const sameRegistry = [...homes].filter(([, home]) => home.registry === goal.registry);
    await push({
      blobs: (blob) => blobsOf(registry, homes.get(blob.digest) ?? goal)(blob),
      mounts: new Map(sameRegistry.map(([digest, { repository }]) => [digest, [repository]])),
      pusher,
      reference: goal,
      plan: {
        layers,
        configs,
        manifests: foreign.map(({ descriptor: { digest, mediaType }, bytes }) => ({
          digest,
          mediaType,
          bytes: Buffer.from(bytes, 'base64'),
        })),
        top,
      },
      onEvent: () => {},
    });
  } finally {
    pusher.close();
    registry.close();
  }
  if (how.purge === true) removeList(core.paths, name);
  const repository = canonicalRepository(goal);
  return {
    digest: top.digest,
    pushed: foreign.map(({ descriptor: { digest } }) => ({ reference: `${repository}@${digest}`, digest })),
  };
}

/** The blobs of manifests, and in which repository each is. */
async function partsOf(entries: readonly ListEntry[]): Promise<{
  homes: ReadonlyMap<Digest, Reference>;
  layers: readonly Descriptor[];
  configs: readonly Descriptor[];
}> {
  const { isForeign, parseDocument } = await import('../registry/manifest.ts');
  const homes = new Map<Digest, Reference>();
  const [layers, configs] = [new Map<Digest, Descriptor>(), new Map<Digest, Descriptor>()];
  for (const { reference, bytes } of entries) {
    const document = parseDocument(Buffer.from(bytes, 'base64'));
    if (document.kind === 'index') continue;
    const { config, layers: all } = document.manifest;
    configs.set(config.digest, config);
    const own = all.filter((layer) => !isForeign(layer));
    for (const layer of own) layers.set(layer.digest, layer);
    for (const { digest } of [config, ...own]) homes.set(digest, parseReference(reference));
  }
  return { homes, layers: [...layers.values()], configs: [...configs.values()] };
}

/** `manifest rm`. @throws TinyrunError `not_found` */
export function removeManifestList(core: Core, text: string): void {
  const name = nameOf(text);
  const list: ManifestList | undefined = readList(core.paths, name);
  if (list === undefined) throw noSuchList(name);
  removeList(core.paths, name);
}

function nameOf(text: string): string {
  return canonicalName(withDefaultTag(parseReference(text)));
}

function isIn(goal: Reference, one: Reference): boolean {
  return canonicalRepository(goal) === canonicalRepository(one);
}

/** Docker's text. */
function noSuchList(name: string): TinyrunError {
  return new TinyrunError('not_found', `No such manifest: ${name}`);
}

async function openFor(core: Core, { insecure = false, signal }: RemoteHow): Promise<Registry> {
  const { openRegistry } = await import('../registry/registry.ts');
  return openRegistry({ ...registryOptions(core, signal), insecure });
}
