import { createHash } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Digest } from '../../src/oci/digest.ts';
import type { Descriptor } from '../../src/oci/image-spec.ts';

/** What to do to an answer in place of giving it as it should be. */
export type Fault =
  | {
      readonly type: 'status';
      readonly status: number;
      readonly headers?: Record<string, string>;
      readonly body?: string;
    }
  /** Sends so many bytes of the body under its true Content-Length, then cuts the connection. */
  | { readonly type: 'truncate'; readonly after: number }
  /** The same with chunked encoding: no length, no last chunk. */
  | { readonly type: 'chunked-cut'; readonly after: number }
  /** The same without length or chunks: the end of the connection is the end of the body. */
  | { readonly type: 'close-cut'; readonly after: number }
  /** Sends so many bytes of the body, then nothing more; -1: not even headers. */
  | { readonly type: 'stall'; readonly after: number }
  /** Sends all of it, at this many bytes per second and connection. */
  | { readonly type: 'slow'; readonly rate: number }
  /** Sends these bytes. */
  | { readonly type: 'replace'; readonly body: Uint8Array; readonly contentType?: string }
  /** Flips one bit of the body. */
  | { readonly type: 'corrupt' }
  /** Changes headers of the answer; undefined leaves one out. */
  | { readonly type: 'headers'; readonly headers: Record<string, string | undefined> }
  /** Never ends. */
  | { readonly type: 'endless' }
  | { readonly type: 'redirect'; readonly to: string; readonly status?: number }
  | { readonly type: 'reset' }
  /** Answers a range request with the whole. */
  | { readonly type: 'ignore-range' }
  /** Answers a range request with a range of its own. */
  | { readonly type: 'wrong-range' };

export interface Content {
  readonly bytes: Uint8Array;
  readonly mediaType: string;
}

export function describeBytes(bytes: Uint8Array, mediaType: string): Descriptor {
  const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}` as Digest;
  return { mediaType, digest, size: bytes.length };
}

export interface SendHow {
  readonly status: number;
  readonly headers?: Record<string, string | string[]>;
  readonly fault: Fault | undefined;
  /** Told the bytes of each piece of the body as it goes into the socket. */
  readonly onSent?: (bytes: number) => void;
}

/** Sends an answer, or what the fault makes of it. */
export function send(request: IncomingMessage, response: ServerResponse, full: Content, how: SendHow): void {
  const { fault } = how;
  if (fault?.type === 'reset') {
    request.socket.resetAndDestroy();
    return;
  }
  if (fault?.type === 'redirect') {
    response.writeHead(fault.status ?? 307, { location: fault.to, 'content-length': 0 }).end();
    return;
  }
  if (fault?.type === 'status') {
    response
      .writeHead(fault.status, { 'content-type': 'application/json', ...fault.headers })
      .end(fault.body ?? '');
    return;
  }
  if (fault?.type === 'stall' && fault.after < 0) return;
  const { bytes, status, range } = bodyFor(request, full, how);
  const isDigestKnown = how.status === 200 && /\/(manifests|blobs)\//.test(request.url ?? '');
  const headers: Record<string, string | number | string[] | undefined> = {
    'content-type': (fault?.type === 'replace' ? fault.contentType : undefined) ?? full.mediaType,
    'content-length': bytes.length,
    ...(isDigestKnown ? { 'docker-content-digest': describeBytes(full.bytes, '').digest } : {}),
    ...(range === undefined ? {} : { 'content-range': range }),
    ...how.headers,
    ...(fault?.type === 'headers' ? fault.headers : {}),
  };
  if (fault?.type === 'chunked-cut' || fault?.type === 'endless') headers['content-length'] = undefined;
  if (fault?.type === 'close-cut') {
    response.shouldKeepAlive = false;
    response.useChunkedEncodingByDefault = false;
    headers['content-length'] = undefined;
  }
  response.writeHead(
    status,
    Object.fromEntries(Object.entries(headers).filter(([, value]) => value !== undefined)),
  );
  if (request.method === 'HEAD') {
    response.end();
    return;
  }
  sendBody(response, bytes, how);
}

function bodyFor(
  request: IncomingMessage,
  full: Content,
  { status, fault }: SendHow,
): { bytes: Uint8Array; status: number; range?: string } {
  const size = full.bytes.length;
  const first = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? '')?.[1] ?? Number.NaN);
  const isRange = status === 200 && !Number.isNaN(first) && fault?.type !== 'ignore-range';
  if (isRange && first >= size) return { bytes: new Uint8Array(), status: 416, range: `bytes */${size}` };
  if (isRange) {
    const from = fault?.type === 'wrong-range' ? Math.max(0, first - 1) : first;
    return { bytes: full.bytes.subarray(from), status: 206, range: `bytes ${from}-${size - 1}/${size}` };
  }
  if (fault?.type === 'replace') return { bytes: fault.body, status };
  if (fault?.type !== 'corrupt') return { bytes: full.bytes, status };
  const bytes = Uint8Array.from(full.bytes);
  const middle = Math.floor(bytes.length / 2);
  bytes[middle] = (bytes[middle] ?? 0) ^ 1;
  return { bytes, status };
}

function sendBody(response: ServerResponse, bytes: Uint8Array, { fault, onSent }: SendHow): void {
  switch (fault?.type) {
    case 'truncate':
    case 'chunked-cut':
      response.write(bytes.subarray(0, fault.after), () => setTimeout(() => response.socket?.destroy(), 5));
      return;
    case 'close-cut':
      response.write(bytes.subarray(0, fault.after), () => setTimeout(() => response.socket?.end(), 5));
      return;
    case 'stall':
      response.write(bytes.subarray(0, fault.after));
      return;
    case 'slow':
      void sendSlowly(response, bytes, { rate: fault.rate, onSent });
      return;
    case 'endless': {
      const more = (): void => {
        while (!response.destroyed && response.write(Buffer.alloc(65_536)));
        if (!response.destroyed) response.once('drain', more);
      };
      more();
      return;
    }
    default:
      response.end(bytes);
      onSent?.(bytes.length);
  }
}

/** Bytes of a piece: small against what is lost in the kernel's buffers when the client dies. */
const PIECE = 64 << 10;

async function sendSlowly(
  response: ServerResponse,
  bytes: Uint8Array,
  how: { readonly rate: number; readonly onSent: SendHow['onSent'] },
): Promise<void> {
  let next = performance.now();
  for (let at = 0; at < bytes.length && !response.destroyed; at += PIECE) {
    const early = next - performance.now();
    if (early > 1) await new Promise((resolve) => setTimeout(resolve, early));
    // What is late is not made up for: a burst would lie in the kernel's buffers, and be lost with the client.
    next = Math.max(next, performance.now() - 5) + (PIECE / how.rate) * 1000;
    const piece = bytes.subarray(at, at + PIECE);
    if (!response.write(piece)) {
      await Promise.race(['drain', 'close'].map((name) => new Promise((done) => response.once(name, done))));
    }
    if (!response.destroyed) how.onSent?.(piece.length);
  }
  response.end();
}
