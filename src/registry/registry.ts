import type { Digest } from '../oci/digest.ts';
import type { Descriptor } from '../oci/image-spec.ts';
import type { Environment } from './proxy.ts';
import type { Reference } from './reference.ts';
import type { RetryPolicy, RetryWatch } from './retry.ts';

export { openRegistry } from './client.ts';

export interface RegistryOptions {
  /** Read for proxies, certificates, XDG directories and auth files. */
  readonly env: Environment;
  /** Replaces the registries.conf files that containers/image would read; `/etc/tinyrun/registries.conf` comes first. */
  readonly registriesConf?: readonly string[];
  /** `--config`, `DOCKER_CONFIG` or `~/.docker`. */
  readonly dockerConfigDir: string;
  /** certs.d directories, the first wins; default: those of containers/image and Docker. */
  readonly certsDirs?: readonly string[];
  /** Allows plain HTTP and unverified certificates for every registry, as `--tls-verify=false`. */
  readonly insecure?: boolean;
  readonly retry?: Partial<RetryPolicy>;
  /** Milliseconds without a byte after which an answer is given up; default 30,000. */
  readonly stallMs?: number;
  /** Ends everything; the reason of the signal is what is thrown then. */
  readonly signal?: AbortSignal;
  /** Told one line per request; no line has a secret in it. */
  readonly log?: (line: string) => void;
  /** Told before each wait of the calls that retry by themselves. */
  readonly onRetry?: (milliseconds: number, error: Error) => void;
  /** For the User-Agent. */
  readonly version?: string;
}

/** A manifest or index as the registry has it, its digest computed from these bytes. */
export interface FetchedManifest {
  readonly bytes: Uint8Array;
  readonly mediaType: string;
  readonly digest: Digest;
}

export interface ManifestHead {
  readonly digest: Digest;
  readonly mediaType: string;
  /** Bytes. */
  readonly size: number;
}

export interface BlobBody {
  /** Bytes; the position of the first chunk: the offset asked for, or 0 where the server ignored `Range`. */
  readonly start: number;
  /** Ends after exactly `descriptor.size - start` bytes, or throws. The digest is for the reader to verify. */
  readonly body: AsyncIterable<Uint8Array>;
  /** Closes the connection; only needed where `body` is never read. */
  close(): void;
}

/**
 * Pulls from the registries that a reference's name leads to: its mirrors in order, then itself. Every body is bounded, no
 * call waits for ever, and errors are RegistryErrors that say by themselves whether trying again can help.
 */
export interface Registry {
  /**
   * What the reference points to. Retries by itself.
   * @throws TinyrunError with Docker's sentence: `manifest for busybox:x not found`, `pull access denied for …`
   */
  manifest(reference: Reference): Promise<FetchedManifest>;
  /** One entry of an index, verified against its descriptor. Retries by itself. */
  manifestByDigest(reference: Reference, descriptor: Descriptor): Promise<FetchedManifest>;
  /** What the reference points to, without counting as a pull; undefined where the registry does not tell. Retries by itself. */
  headManifest(reference: Reference): Promise<ManifestHead | undefined>;
  /** One attempt to get a blob from a byte on; put it into retrying(). */
  blob(reference: Reference, descriptor: Descriptor, offset: number): Promise<BlobBody>;
  /** A small blob whole and verified, such as an image config. Retries by itself, a corrupt one once. */
  blobBytes(reference: Reference, descriptor: Descriptor, longest?: number): Promise<Uint8Array>;
  /** The artifacts about a manifest; none where the registry does not tell. Retries by itself. */
  referrers(reference: Reference, digest: Digest, artifactType: string): Promise<readonly Descriptor[]>;
  /** All tags of the reference's repository. Retries by itself. */
  tags(reference: Reference): Promise<string[]>;
  /** Repeats what a RegistryError says may be repeated, with back-off and as `Retry-After` asks. */
  retrying<T>(attempt: (n: number) => Promise<T>, watch?: RetryWatch): Promise<T>;
  /** Closes idle connections. */
  close(): void;
}

/** What openRegistry() gives: registries, and what the user's configuration says about their names. */
export interface ConfiguredRegistry extends Registry {
  /** What a name as typed may stand for, best first: its own reference, unless tinyrun's registries.conf says otherwise. */
  expand(text: string, reference: Reference): Promise<Reference[]>;
}
