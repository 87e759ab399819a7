import { TinyrunError } from '../errors.ts';
import type { Digest } from '../oci/digest.ts';
import type { Core } from './core.ts';
import type { Inspection } from './inspect.ts';
import { registryOptions } from './registry-options.ts';

export interface RemoteHow {
  /** Allows plain HTTP and certificates that cannot be verified. */
  readonly insecure?: boolean;
  readonly signal?: AbortSignal;
}

export interface RemoteManifest {
  /** As the registry has them. */
  readonly bytes: Uint8Array;
  readonly mediaType: string;
  readonly digest: Digest;
}

/** The tags of a repository. @throws TinyrunError `not_found`, `unauthorized`, `unavailable` */
export async function remoteTags(core: Core, text: string, how: RemoteHow = {}): Promise<string[]> {
  return withRegistry(core, text, how, (registry, reference) => registry.tags(reference));
}

/** What a name points to in its registry; nothing is kept. */
export async function remoteManifest(core: Core, text: string, how: RemoteHow = {}): Promise<RemoteManifest> {
  return withRegistry(core, text, how, (registry, reference) => registry.manifest(reference));
}

/**
 * An image as `image inspect` shows it, without pulling it: its size is that of the layers in the registry.
 * @param how.platform which image of an index; default: this machine's
 */
export async function remoteImage(
  core: Core,
  text: string,
  how: RemoteHow & { readonly platform?: string } = {},
): Promise<Inspection> {
  const [{ parseDocument }, { LONGEST_CONFIG, parseImageConfig }, { parsePlatform, selectManifest }, names] =
    await Promise.all([
      import('../registry/manifest.ts'),
      import('../registry/image-config.ts'),
      import('../registry/platform.ts'),
      import('../registry/reference.ts'),
    ]);
  const { host } = await core.store();
  const platform = how.platform === undefined ? host : parsePlatform(how.platform, host);
  return withRegistry(core, text, how, async (registry, reference) => {
    const top = await registry.manifest(reference);
    let document = parseDocument(top.bytes, top.mediaType);
    if (document.kind === 'index') {
      const descriptor = selectManifest(document.index, platform);
      const { bytes } = await registry.manifestByDigest(reference, descriptor);
      document = parseDocument(bytes, descriptor.mediaType);
    }
    if (document.kind === 'index') throw new TinyrunError('unsupported', `"${text}" is an index of indexes`);
    const { config: descriptor, layers } = document.manifest;
    const config = parseImageConfig(await registry.blobBytes(reference, descriptor, LONGEST_CONFIG));
    const named = names.withDefaultTag(reference);
    return {
      Id: descriptor.digest,
      RepoTags: named.tag === undefined ? [] : [`${names.familiarRepository(named)}:${named.tag}`],
      RepoDigests: [`${names.familiarRepository(reference)}@${top.digest}`],
      Created: config.created ?? '',
      Author: config.author ?? '',
      Architecture: config.architecture,
      ...(config.variant === undefined ? {} : { Variant: config.variant }),
      Os: config.os,
      Size: layers.reduce((sum, { size }) => sum + size, 0),
      Config: { ...config.config },
      RootFS: { Type: 'layers', Layers: config.rootfs.diff_ids },
      Descriptor: { mediaType: top.mediaType, digest: top.digest, size: top.bytes.byteLength },
    };
  });
}

type Registry = ReturnType<typeof import('../registry/registry.ts').openRegistry>;
type Reference = import('../registry/reference.ts').Reference;

async function withRegistry<T>(
  core: Core,
  text: string,
  how: RemoteHow,
  ask: (registry: Registry, reference: Reference) => Promise<T>,
): Promise<T> {
  const [{ openRegistry }, { parseReference }] = await Promise.all([
    import('../registry/registry.ts'),
    import('../registry/reference.ts'),
  ]);
  const registry = openRegistry({
    ...registryOptions(core, how.signal),
    ...(how.insecure === undefined ? {} : { insecure: how.insecure }),
  });
  try {
    const typed = parseReference(text);
    const [reference = typed] = await registry.expand(text, typed);
    return await ask(registry, reference);
  } finally {
    registry.close();
  }
}
