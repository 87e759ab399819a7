import { TinyrunError } from '../errors.ts';
import { type Anywhere, openBlobs, readVerified } from './blob-sources.ts';
import { RegistryError, registryErrorIn } from './errors.ts';
import { LONGEST_CONFIG } from './image-config.ts';
import { fetchManifest, fetchReferrers, headManifest } from './manifest-fetch.ts';
import { endpointsFor, type RegistriesConfig } from './mirrors.ts';
import { familiarName, familiarRepository, type Reference, withDefaultTag } from './reference.ts';
import { loadRegistriesConf } from './registries-conf.ts';
import type { ConfiguredRegistry, RegistryOptions } from './registry.ts';
import { openRequests } from './requests.ts';
import { DEFAULT_RETRY, type RetryPolicy, type RetryWatch, retrying } from './retry.ts';
import { expandShortName } from './short-names.ts';
import { listTags } from './tags.ts';
import { openTransport, type Transport } from './transport.ts';

/** Milliseconds. */
const DEFAULT_STALL = 30_000;
/** Tries of a mirror: the registry itself is there to fall back to. */
const MIRROR_ATTEMPTS = 2;

/** Nothing is read or connected before the first call. */
export function openRegistry(options: RegistryOptions): ConfiguredRegistry {
  const transport = transportFor(options);
  const request = openRequests(transport, options, options.insecure ?? false);
  const policy: RetryPolicy = { ...DEFAULT_RETRY, ...options.retry };
  const watch: RetryWatch = {
    signal: options.signal,
    ...(options.onRetry === undefined ? {} : { onRetry: options.onRetry }),
  };
  let loading: Promise<RegistriesConfig> | undefined;
  const config = (): Promise<RegistriesConfig> => {
    loading ??= loadRegistriesConf(options.env, options.registriesConf);
    return loading;
  };
  const anywhere = openAnywhere(options, config);
  const patiently: Anywhere = async (reference, attempt) => {
    try {
      return await anywhere(reference, (endpoint) => {
        const attempts = endpoint.isMirror ? Math.min(MIRROR_ATTEMPTS, policy.attempts) : policy.attempts;
        return retrying(() => attempt(endpoint), { ...policy, attempts }, watch);
      });
    } catch (error) {
      throw pullError(error, reference);
    }
  };
  const blob = openBlobs(transport, anywhere, request, options.log);
  return {
    expand: async (text, reference) => expandShortName(text, reference, await config()),
    manifest: (reference) =>
      patiently(reference, (endpoint) => fetchManifest(request, endpoint, withDefaultTag(reference))),
    manifestByDigest(reference, descriptor) {
      const exact = { ...reference, digest: descriptor.digest };
      return patiently(exact, (endpoint) => fetchManifest(request, endpoint, exact, descriptor));
    },
    headManifest: (reference) =>
      patiently(reference, (endpoint) => headManifest(request, endpoint, withDefaultTag(reference))),
    blob,
    blobBytes: (reference, descriptor, longest = LONGEST_CONFIG) =>
      retrying(() => readVerified(blob, reference, descriptor, longest), policy, watch),
    referrers: (reference, digest, artifactType) =>
      patiently(reference, (endpoint) => fetchReferrers(request, endpoint, digest, artifactType)),
    tags: (reference) =>
      patiently(reference, (endpoint) => listTags((path) => request(endpoint, { method: 'GET', path }))),
    retrying: (attempt, more) => retrying(attempt, policy, { ...watch, ...more }),
    close: () => transport.close(),
  };
}

/** The way to registries as the options say it. */
export function transportFor(options: RegistryOptions): Transport {
  const stall = options.stallMs ?? DEFAULT_STALL;
  return openTransport({
    env: options.env,
    certsDirs: options.certsDirs ?? defaultCertsDirs(options),
    userAgent: options.version === undefined ? 'tinyrun' : `tinyrun/${options.version}`,
    headersTimeout: stall,
    stall,
    signal: options.signal,
    log: options.log,
  });
}

/** The mirrors in order, then the registry itself, whose error is the one that counts. */
function openAnywhere({ signal, log }: RegistryOptions, config: () => Promise<RegistriesConfig>): Anywhere {
  // One that cannot be reached is not asked again for each of fifty layers.
  const deadMirrors = new Set<string>();
  return async (reference, attempt) => {
    for (const endpoint of endpointsFor(reference, await config())) {
      if (!endpoint.isMirror) return attempt(endpoint);
      if (deadMirrors.has(endpoint.host)) continue;
      try {
        return await attempt(endpoint);
      } catch (error) {
        signal?.throwIfAborted();
        if (registryErrorIn(error)?.kind === 'unavailable') deadMirrors.add(endpoint.host);
        log?.(`mirror ${endpoint.host}: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
    // Unreachable: the last endpoint is no mirror.
    throw new RegistryError('internal', `Cannot pull "${familiarName(reference)}": no registry to ask`);
  };
}

function defaultCertsDirs({ env }: RegistryOptions): string[] {
  const home = env.XDG_CONFIG_HOME || (env.HOME ? `${env.HOME}/.config` : undefined);
  const user = home === undefined ? [] : [`${home}/containers/certs.d`];
  return [...user, '/etc/containers/certs.d', '/etc/docker/certs.d'];
}

/** A registry's refusal in the sentences that Docker's users know, with the registry's own words as the cause. */
function pullError(error: unknown, reference: Reference): unknown {
  const found = registryErrorIn(error);
  if (found === undefined || !(error instanceof TinyrunError)) return error;
  const repository = familiarRepository(reference);
  if (found.registryCode === 'DENIED' || found.kind === 'unauthorized' || found.status === 403) {
    return new TinyrunError(
      'unauthorized',
      `pull access denied for ${repository}, repository does not exist or may require 'tinyrun login'`,
      { cause: error },
    );
  }
  if (found.kind !== 'not_found') return error;
  const what =
    found.registryCode === 'NAME_UNKNOWN'
      ? `repository ${repository}`
      : `manifest for ${familiarName(reference)}`;
  return new TinyrunError('not_found', `${what} not found`, { cause: error });
}
