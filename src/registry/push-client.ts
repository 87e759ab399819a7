import { TinyrunError } from '../errors.ts';
import type { Digest } from '../oci/digest.ts';
import type { Descriptor } from '../oci/image-spec.ts';
import { transportFor } from './client.ts';
import { RegistryError, registryErrorIn } from './errors.ts';
import { type Endpoint, endpointsFor } from './mirrors.ts';
import { canonicalRepository, type Reference } from './reference.ts';
import { loadRegistriesConf } from './registries-conf.ts';
import type { RegistryOptions } from './registry.ts';
import { type EndpointCall, openRequests } from './requests.ts';
import { DEFAULT_RETRY, type RetryWatch, retrying } from './retry.ts';
import { type UploadSource, uploadBlob } from './upload.ts';

export interface PushOptions extends RegistryOptions {
  /** Bytes of one PATCH at the most; default 64 MiB. */
  readonly chunkSize?: number;
}

/** Writes into one repository. Every call retries by itself, and knows no mirrors: those are for reading. */
export interface Pusher {
  hasBlob(digest: Digest): Promise<boolean>;
  /**
   * Takes a blob over from another repository of the same registry.
   * @param from repository, such as `library/busybox`
   * @returns false where the registry does not do that
   */
  mount(digest: Digest, from: string): Promise<boolean>;
  /** @param onProgress told the bytes that are there, which may also become fewer */
  upload(descriptor: Descriptor, source: UploadSource, onProgress: (bytes: number) => void): Promise<void>;
  /** @param name a tag or a digest */
  putManifest(name: string, mediaType: string, bytes: Uint8Array): Promise<void>;
  close(): void;
}

/** Nothing is read or connected before the first call. */
export function openPusher(reference: Reference, options: PushOptions): Pusher {
  const transport = transportFor(options);
  const request = openRequests(transport, options, options.insecure ?? false);
  let found: Promise<Endpoint> | undefined;
  const endpoint = (): Promise<Endpoint> => {
    found ??= endpointOf(reference, options);
    return found;
  };
  const actions = 'pull,push';
  const call = async (wanted: Parameters<EndpointCall>[1]): ReturnType<EndpointCall> =>
    request(await endpoint(), { actions, ...wanted });
  const policy = { ...DEFAULT_RETRY, ...options.retry };
  const patiently = async <T>(attempt: () => Promise<T>, more: RetryWatch = {}): Promise<T> => {
    try {
      return await retrying(attempt, policy, { signal: options.signal, ...more });
    } catch (error) {
      throw pushError(error, reference);
    }
  };
  return {
    hasBlob: (digest) =>
      patiently(async () => {
        const reply = await call({ method: 'HEAD', path: `blobs/${digest}` });
        if (reply.status !== 200 && reply.status !== 404) throw await reply.error();
        reply.discard();
        return reply.status === 200;
      }),
    mount: (digest, from) => patiently(() => mountBlob(call, digest, from)),
    upload: (descriptor, source, onProgress) =>
      uploadBlob({
        call,
        retrying: patiently,
        descriptor,
        source,
        onProgress,
        ...(options.chunkSize === undefined ? {} : { chunkSize: options.chunkSize }),
      }),
    putManifest: (name, mediaType, bytes) =>
      patiently(async () => {
        const headers = { 'Content-Type': mediaType };
        const body = { length: bytes.length, open: () => [bytes] };
        const reply = await call({ method: 'PUT', path: `manifests/${name}`, headers, body });
        if (reply.status !== 201) throw await unexpected(reply);
        reply.discard();
      }),
    close: () => transport.close(),
  };
}

async function endpointOf(reference: Reference, options: RegistryOptions): Promise<Endpoint> {
  const config = await loadRegistriesConf(options.env, options.registriesConf);
  const endpoint = endpointsFor(reference, config).at(-1);
  if (endpoint === undefined) throw new Error('a registry without an endpoint');
  return endpoint;
}

type Call = (wanted: Parameters<EndpointCall>[1]) => ReturnType<EndpointCall>;

/**
 * A registry that will not mount opens an upload instead, which is left to expire: the next one has its own.
 * @see https://github.com/opencontainers/distribution-spec/blob/main/spec.md#mounting-a-blob-from-another-repository
 */
async function mountBlob(call: Call, digest: Digest, from: string): Promise<boolean> {
  const query = new URLSearchParams({ mount: digest, from });
  try {
    const reply = await call({
      method: 'POST',
      path: `blobs/uploads/?${query}`,
      moreScope: `repository:${from}:pull`,
    });
    if (reply.status >= 500 || reply.status === 429) throw await reply.error();
    reply.discard();
    return reply.status === 201;
  } catch (error) {
    // No right to read there: then the bytes are sent.
    if (['unauthorized', 'denied'].includes(registryErrorIn(error)?.kind ?? '')) return false;
    throw error;
  }
}

type Reply = Awaited<ReturnType<EndpointCall>>;

/** A status that is neither what was hoped for nor, perhaps, an error. */
export async function unexpected(reply: Reply): Promise<RegistryError> {
  if (reply.status >= 400) return reply.error();
  reply.discard();
  return new RegistryError('invalid', `${reply.method} ${reply.url}: unexpected status ${reply.status}`);
}

/** Docker's sentence for a push that is not allowed, with the registry's own words as the cause. */
function pushError(error: unknown, reference: Reference): unknown {
  const found = registryErrorIn(error);
  if (found === undefined) return error;
  const isRefused = found.registryCode === 'DENIED' || found.kind === 'unauthorized' || found.status === 403;
  if (!isRefused) return error;
  return new TinyrunError('unauthorized', 'denied: requested access to the resource is denied', {
    cause: error,
    hint: `Cannot push to "${canonicalRepository(reference)}"; perhaps "tinyrun login ${reference.registry}" helps`,
  });
}
