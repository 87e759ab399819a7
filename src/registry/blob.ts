import type { Descriptor } from '../oci/image-spec.ts';
import { exactly, sizeError } from './body.ts';
import { RegistryError } from './errors.ts';
import { printableUrl } from './printable.ts';
import type { BlobBody } from './registry.ts';
import type { Reply } from './transport.ts';

/** One GET of the blob; with `range` where that is given. Any status is an answer. */
export type BlobRequest = (range: string | undefined) => Promise<Reply>;

/** What is left of a blob that is there already: nothing. */
export function emptyBody(start: number): BlobBody {
  return { start, body: noChunks(), close() {} };
}

async function* noChunks(): AsyncGenerator<Uint8Array, void, undefined> {}

/**
 * A blob from a byte on. The answer to a range request is believed only where it says the same: else the download starts
 * over. Nothing is sent as If-Range, because the digest in the URL already says which bytes are meant.
 * @see https://www.rfc-editor.org/rfc/rfc9110#name-range-requests
 */
export async function openBlob(
  request: BlobRequest,
  descriptor: Descriptor,
  offset: number,
): Promise<BlobBody> {
  const reply = await request(offset === 0 ? undefined : `bytes=${offset}-`);
  if (offset > 0) {
    const isPartial = reply.status === 206 && contentRange(reply)?.first === offset;
    if (reply.status === 416 || (reply.status === 206 && !isPartial)) {
      reply.discard();
      return wholeBlob(await request(undefined), descriptor);
    }
    if (isPartial) return partialBlob(reply, descriptor, offset);
  }
  return wholeBlob(reply, descriptor);
}

async function wholeBlob(reply: Reply, descriptor: Descriptor): Promise<BlobBody> {
  if (reply.status !== 200) {
    if (reply.status >= 400) throw await reply.error();
    reply.discard();
    throw new RegistryError(
      'invalid',
      `${reply.method} ${printableUrl(reply.url)}: unexpected status ${reply.status}`,
    );
  }
  const length = contentLength(reply);
  if (length !== undefined && length !== descriptor.size) throw wrongSize(reply, descriptor.size, length);
  return bodyOf(reply, descriptor, 0);
}

function partialBlob(reply: Reply, descriptor: Descriptor, offset: number): BlobBody {
  const total = contentRange(reply)?.total;
  if (total !== undefined && total !== descriptor.size) throw wrongSize(reply, descriptor.size, total);
  const length = contentLength(reply);
  const left = descriptor.size - offset;
  if (length !== undefined && length > left) throw wrongSize(reply, left, length);
  return bodyOf(reply, descriptor, offset);
}

function bodyOf(reply: Reply, descriptor: Descriptor, start: number): BlobBody {
  return {
    start,
    body: exactly(reply.source, descriptor.size, start),
    close: () => void reply.source.stream.destroy(),
  };
}

function wrongSize(reply: Reply, expected: number, offered: number): RegistryError {
  reply.source.stream.destroy();
  return sizeError(reply.method, reply.url, expected, offered);
}

function contentLength(reply: Reply): number | undefined {
  const header = reply.header('content-length');
  return header !== undefined && /^\d{1,15}$/.test(header) ? Number(header) : undefined;
}

function contentRange(reply: Reply): { first: number; total?: number } | undefined {
  const match = /^bytes (\d{1,15})-\d{1,15}\/(\d{1,15}|\*)$/.exec(reply.header('content-range') ?? '');
  if (match === null) return undefined;
  return { first: Number(match[1]), ...(match[2] === '*' ? {} : { total: Number(match[2]) }) };
}
