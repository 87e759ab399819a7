import { TinyrunError } from '../errors.ts';
import type { Descriptor } from '../oci/image-spec.ts';
import { type BlobRequest, emptyBody, openBlob } from './blob.ts';
import { RegistryError } from './errors.ts';
import { isForeign } from './manifest.ts';
import { sha256 } from './manifest-fetch.ts';
import type { Endpoint } from './mirrors.ts';
import { familiarRepository, type Reference } from './reference.ts';
import type { BlobBody, Registry } from './registry.ts';
import type { EndpointCall } from './requests.ts';
import type { Transport } from './transport.ts';

/** Calls a function for each place that may have the image, until one has it. */
export type Anywhere = <T>(reference: Reference, attempt: (endpoint: Endpoint) => Promise<T>) => Promise<T>;

/** One attempt per call to get a blob: a foreign layer from its own addresses first, then wherever the image may be. */
export function openBlobs(
  transport: Transport,
  anywhere: Anywhere,
  request: EndpointCall,
  log: ((line: string) => void) | undefined,
): Registry['blob'] {
  const foreign = async (descriptor: Descriptor, offset: number): Promise<BlobBody | undefined> => {
    if (!isForeign(descriptor)) return undefined;
    for (const url of (descriptor.urls ?? []).flatMap(usableUrl)) {
      try {
        // No credentials, whatever is asked for: the image's author chose this host (CVE-2020-15157).
        const get: BlobRequest = (range) =>
          transport.follow({ method: 'GET', url, headers: rangeHeader(range), insecure: false });
        return await openBlob(get, descriptor, offset);
      } catch (error) {
        if (!(error instanceof RegistryError)) throw error;
        log?.(`foreign layer: ${error.message}`);
      }
    }
    return undefined;
  };
  return async (reference, descriptor, offset) => {
    if (offset === descriptor.size) return emptyBody(offset);
    // More than there is: whatever was kept of it is not this blob.
    const from = offset > descriptor.size ? 0 : offset;
    const path = `blobs/${descriptor.digest}`;
    return (
      (await foreign(descriptor, from)) ??
      anywhere(reference, (endpoint) =>
        openBlob(
          (range) => request(endpoint, { method: 'GET', path, headers: rangeHeader(range) }),
          descriptor,
          from,
        ),
      )
    );
  };
}

function rangeHeader(range: string | undefined): Readonly<Record<string, string>> {
  return range === undefined ? {} : { Range: range };
}

function usableUrl(address: string): URL[] {
  const url = URL.canParse(address) ? new URL(address) : undefined;
  const isUsable =
    url !== undefined && /^https?:$/.test(url.protocol) && url.username === '' && url.password === '';
  return isUsable ? [url] : [];
}

/**
 * One attempt to get a blob whole and verified.
 * @param longest bytes
 */
export async function readVerified(
  blob: Registry['blob'],
  reference: Reference,
  descriptor: Descriptor,
  longest: number,
): Promise<Uint8Array> {
  if (descriptor.size > longest) {
    throw new TinyrunError(
      'invalid',
      `Cannot read blob "${descriptor.digest}": it has ${descriptor.size} bytes, expected ${longest} at most`,
    );
  }
  const chunks: Uint8Array[] = [];
  const { body } = await blob(reference, descriptor, 0);
  for await (const chunk of body) chunks.push(chunk);
  const bytes = Buffer.concat(chunks);
  const digest = sha256(bytes);
  if (digest === descriptor.digest) return bytes;
  throw new RegistryError(
    'invalid',
    `Cannot use blob "${descriptor.digest}" of "${familiarRepository(reference)}": its content has digest "${digest}"`,
    { retry: 'once' },
  );
}
