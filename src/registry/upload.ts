import type { Descriptor } from '../oci/image-spec.ts';
import { RegistryError, registryErrorIn } from './errors.ts';
import { printableUrl } from './printable.ts';
import type { EndpointCall } from './requests.ts';
import type { RetryWatch } from './retry.ts';
import type { Reply } from './transport.ts';

/** Bytes `first` to `last` of a blob, as often as asked. */
export type UploadSource = (first: number, last: number) => AsyncIterable<Uint8Array>;

export interface Upload {
  readonly call: (wanted: Parameters<EndpointCall>[1]) => ReturnType<EndpointCall>;
  readonly retrying: <T>(attempt: () => Promise<T>, watch?: RetryWatch) => Promise<T>;
  readonly descriptor: Descriptor;
  readonly source: UploadSource;
  readonly onProgress: (bytes: number) => void;
  /** Bytes of one PATCH at the most; default 64 MiB, below what proxies in front of registries take. */
  readonly chunkSize?: number;
}

const CHUNK = 64 << 20;
/** Bytes up to which a blob goes in one request: sending it again costs less than asking how far it came. */
const SMALL = 4 << 20;
/** Bytes: what an attempt must add to count as progress. */
const GRAIN = 64 << 10;

/** An upload that the registry has begun. */
interface Begun {
  /** Where to go on: changes with every answer. */
  location: URL;
  /** Bytes that the registry has. */
  offset: number;
  readonly chunkSize: number;
  /** A request broke off: how far it came is only known when the registry was asked. */
  isUnsure: boolean;
}

/**
 * Sends a blob: a small one in one request, a larger one in pieces. What breaks off goes on where the registry says it is;
 * an upload that it no longer knows begins anew.
 * @throws RegistryError, when trying again does not help
 * @see https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pushing-blobs
 */
export async function uploadBlob(upload: Upload): Promise<void> {
  const { size } = upload.descriptor;
  const largest = upload.chunkSize ?? CHUNK;
  let begun: Begun | undefined;
  const attempt = async (): Promise<void> => {
    if (begun?.isUnsure === true && !(await asked(upload, begun))) begun = undefined;
    begun ??= await begin(upload, largest);
    try {
      if (size > Math.min(SMALL, largest)) await sendChunks(upload, begun);
      await complete(upload, begun);
    } catch (error) {
      begun.isUnsure = true;
      // Bytes out of step (416): the next attempt asks where the registry is.
      const found = registryErrorIn(error);
      if (found?.status !== 416 && found?.registryCode !== 'BLOB_UPLOAD_UNKNOWN') throw error;
      throw new RegistryError('unavailable', found.message, { retry: 'always', cause: error });
    }
  };
  await upload.retrying(attempt, { progress: () => Math.floor((begun?.offset ?? 0) / GRAIN) });
}

async function begin({ call, onProgress }: Upload, largest: number): Promise<Begun> {
  const reply = await call({ method: 'POST', path: 'blobs/uploads/', headers: { 'Content-Length': '0' } });
  if (reply.status !== 202) throw await failure(reply);
  const least = Number(reply.header('oci-chunk-min-length') ?? 0);
  reply.discard();
  onProgress(0);
  const chunkSize = Number.isSafeInteger(least) && least > largest ? least : largest;
  return { location: locationOf(reply), offset: 0, chunkSize, isUnsure: false };
}

/** Asks how far an upload came. @returns false where the registry does not know it any more, or does not tell */
async function asked({ call, descriptor, onProgress }: Upload, begun: Begun): Promise<boolean> {
  const reply = await call({ method: 'GET', at: begun.location });
  if (reply.status >= 500 || reply.status === 429) throw await reply.error();
  reply.discard();
  const offset = rangeEnd(reply);
  if (reply.status !== 204 || offset === undefined || offset > descriptor.size) return false;
  begun.offset = offset;
  begun.isUnsure = false;
  if (reply.header('location') !== undefined) begun.location = locationOf(reply);
  onProgress(offset);
  return true;
}

async function sendChunks({ call, descriptor, source, onProgress }: Upload, begun: Begun): Promise<void> {
  while (begun.offset < descriptor.size) {
    const first = begun.offset;
    const last = Math.min(descriptor.size, first + begun.chunkSize) - 1;
    const reply = await call({
      method: 'PATCH',
      at: begun.location,
      headers: { 'Content-Type': 'application/octet-stream', 'Content-Range': `${first}-${last}` },
      body: { length: last - first + 1, open: () => counted(source(first, last), first, onProgress) },
    });
    // 202 says the specification; 204 is what others say.
    if (reply.status !== 202 && reply.status !== 204) throw await failure(reply);
    reply.discard();
    const reached = rangeEnd(reply) ?? last + 1;
    if (reached <= first || reached > last + 1) {
      throw new RegistryError(
        'invalid',
        `PATCH ${printableUrl(reply.url)}: the registry has ${reached} bytes, expected ${last + 1}`,
        { retry: 'once' },
      );
    }
    begun.offset = reached;
    begun.location = locationOf(reply);
    onProgress(reached);
  }
}

/** The closing PUT: with what was not sent yet. */
async function complete({ call, descriptor, source, onProgress }: Upload, begun: Begun): Promise<void> {
  const { digest, size } = descriptor;
  const location = new URL(begun.location);
  location.searchParams.set('digest', digest);
  const first = begun.offset;
  const reply = await call({
    method: 'PUT',
    at: location,
    headers: { 'Content-Type': 'application/octet-stream' },
    body: {
      length: size - first,
      open: () => (first < size ? counted(source(first, size - 1), first, onProgress) : []),
    },
  });
  if (reply.status !== 201 && reply.status !== 204) throw await failure(reply);
  reply.discard();
  begun.offset = size;
}

async function* counted(
  chunks: AsyncIterable<Uint8Array>,
  first: number,
  onProgress: (bytes: number) => void,
): AsyncGenerator<Uint8Array, void, undefined> {
  let sent = first;
  for await (const chunk of chunks) {
    yield chunk;
    sent += chunk.byteLength;
    onProgress(sent);
  }
}

async function failure(reply: Reply): Promise<RegistryError> {
  if (reply.status >= 400) return reply.error();
  reply.discard();
  return new RegistryError(
    'invalid',
    `${reply.method} ${printableUrl(reply.url)}: unexpected status ${reply.status}`,
  );
}

/** `0-1023` of the header Range as 1024; a registry that has nothing says `0-0` or `0--1`. */
function rangeEnd(reply: Reply): number | undefined {
  const match = /^(?:bytes=)?0-(-1|\d{1,15})$/.exec(reply.header('range') ?? '');
  if (match === null) return undefined;
  const last = Number(match[1]);
  // Whether `0-0` is one byte or none nobody can tell: none is the safe reading.
  return last <= 0 ? 0 : last + 1;
}

/**
 * Where the registry wants the next request. A proxy that ends TLS makes registries write http of their own host: that is
 * taken for https; any other way out of encryption is refused.
 */
function locationOf(reply: Reply): URL {
  const said = reply.header('location');
  const fail = (why: string): RegistryError =>
    new RegistryError('invalid', `${reply.method} ${printableUrl(reply.url)}: ${why}`);
  if (said === undefined || !URL.canParse(said, reply.url.href))
    throw fail('no usable Location in the answer');
  const url = new URL(said, reply.url);
  if (url.username !== '' || url.password !== '') throw fail('a password in the Location');
  if (url.protocol === 'http:' && reply.url.protocol === 'https:' && url.hostname === reply.url.hostname) {
    url.protocol = 'https:';
    url.port = reply.url.port;
  }
  const isEncrypted = url.protocol === 'https:' || reply.url.protocol === 'http:';
  if (!isEncrypted || !/^https?:$/.test(url.protocol))
    throw fail('leads to an address that is not encrypted');
  return url;
}
