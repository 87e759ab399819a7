import { createHash } from 'node:crypto';
import { TinyrunError } from '../errors.ts';
import { type Digest, isDigest } from '../oci/digest.ts';
import { type Descriptor, MEDIA_TYPE } from '../oci/image-spec.ts';
import { sizeError } from './body.ts';
import { RegistryError } from './errors.ts';
import { ACCEPTED_MANIFESTS, documentMediaType, LONGEST_MANIFEST, parseDocument } from './manifest.ts';
import type { Endpoint } from './mirrors.ts';
import { printableUrl } from './printable.ts';
import type { Reference } from './reference.ts';
import type { FetchedManifest, ManifestHead } from './registry.ts';
import type { EndpointCall } from './requests.ts';
import type { Reply } from './transport.ts';

/**
 * One attempt to get a manifest: bounded, and verified against the reference's digest, the descriptor's, or for a tag the
 * one in the registry's header, which is believed for nothing else.
 */
export async function fetchManifest(
  request: EndpointCall,
  endpoint: Endpoint,
  reference: Reference,
  expected?: Descriptor,
): Promise<FetchedManifest> {
  const reply = await request(endpoint, { method: 'GET', path: manifestPath(reference), headers: ACCEPT });
  if (reply.status !== 200) throw await reply.error();
  const bytes = await reply.read(LONGEST_MANIFEST);
  const digest = sha256(bytes);
  const said = reply.header('docker-content-digest');
  const wanted = reference.digest ?? (isDigest(said) ? said : digest);
  if (expected !== undefined && bytes.length !== expected.size) {
    throw sizeError(reply.method, reply.url, expected.size, bytes.length);
  }
  if (digest !== wanted) throw digestError(reply, wanted, digest);
  try {
    return {
      bytes,
      digest,
      mediaType: documentMediaType(bytes, expected?.mediaType ?? reply.header('content-type')),
    };
  } catch (error) {
    if (!(error instanceof TinyrunError) || error.kind !== 'invalid') throw error;
    // Perhaps the bytes were hurt on the way; by tag there is no digest to tell.
    throw new RegistryError('invalid', error.message, { retry: 'once', cause: error.cause });
  }
}

const ACCEPT: Readonly<Record<string, string>> = { Accept: [...ACCEPTED_MANIFESTS, '*/*'].join(', ') };

function manifestPath({ tag, digest }: Reference): string {
  return `manifests/${digest ?? tag ?? ''}`;
}

/**
 * One attempt to learn a tag's digest; undefined where the registry does not tell. A refusal is no error here: the GET that
 * follows is refused, too, with a body that says why, and registries without HEAD answer that with many statuses.
 */
export async function headManifest(
  request: EndpointCall,
  endpoint: Endpoint,
  reference: Reference,
): Promise<ManifestHead | undefined> {
  const reply = await request(endpoint, { method: 'HEAD', path: manifestPath(reference), headers: ACCEPT });
  reply.discard();
  if (reply.status !== 200) return undefined;
  const digest = reply.header('docker-content-digest');
  const size = Number(reply.header('content-length') ?? Number.NaN);
  const mediaType = reply.header('content-type')?.split(';', 1)[0]?.trim();
  if (!isDigest(digest) || !Number.isSafeInteger(size) || mediaType === undefined) return undefined;
  return { digest, mediaType, size };
}

/**
 * One attempt to list the artifacts about a manifest. A registry without that interface answers in many ways; it has none.
 * @see https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers
 */
export async function fetchReferrers(
  request: EndpointCall,
  endpoint: Endpoint,
  digest: Digest,
  artifactType: string,
): Promise<readonly Descriptor[]> {
  const query = new URLSearchParams({ artifactType });
  const reply = await request(endpoint, { method: 'GET', path: `referrers/${digest}?${query}` });
  if (reply.status >= 500 || reply.status === 429) throw await reply.error();
  if (reply.status !== 200) {
    reply.discard();
    return [];
  }
  const document = parseDocument(await reply.read(LONGEST_MANIFEST), MEDIA_TYPE.ociIndex);
  return document.kind === 'index' ? document.index.manifests : [];
}

export function sha256(bytes: Uint8Array): Digest {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}` as Digest;
}

function digestError(reply: Reply, expected: Digest, found: Digest): RegistryError {
  return new RegistryError(
    'invalid',
    `${reply.method} ${printableUrl(reply.url)}: the content has digest "${found}", expected "${expected}"`,
    { retry: 'once' },
  );
}
