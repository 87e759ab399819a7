import type { Digest } from '../oci/digest.ts';
import type { Core } from './core.ts';
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
