import { createReadStream } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { pipeline } from 'node:stream';
import type { Digest } from '../../oci/digest.ts';

/** What goes back: a body in memory, or bytes `first` to `last` of a file. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  readonly file?: { readonly path: string; readonly first: number; readonly last: number };
}

/** Bytes per read of a blob file: at Node's default of 64 kB the thread pool is the bottleneck. */
const READ_SIZE = 512 * 1024;

export function send(
  request: IncomingMessage,
  response: ServerResponse,
  { status, headers, body, file }: Answer,
): void {
  const length = file === undefined ? (body?.length ?? 0) : file.last - file.first + 1;
  response.writeHead(status, {
    ...headers,
    // RFC 9110 8.6: no length in an answer that cannot have a body.
    ...(status === 204 ? {} : { 'Content-Length': length }),
    'Docker-Distribution-Api-Version': 'registry/2.0',
  });
  if (request.method === 'HEAD' || file === undefined || length === 0) {
    response.end(request.method === 'HEAD' ? undefined : body);
    return;
  }
  const { path, first, last } = file;
  // A client that went away ends the read too; the error itself is nobody's business.
  pipeline(createReadStream(path, { start: first, end: last, highWaterMark: READ_SIZE }), response, () => {});
}

export function json(value: unknown, headers: Readonly<Record<string, string>> = {}): Answer {
  return {
    status: 200,
    headers: { 'Content-Type': 'application/json', ...headers },
    body: Buffer.from(JSON.stringify(value)),
  };
}

/** @see https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes */
const STATUS = {
  BLOB_UNKNOWN: 404,
  BLOB_UPLOAD_INVALID: 416,
  BLOB_UPLOAD_UNKNOWN: 404,
  DIGEST_INVALID: 400,
  MANIFEST_BLOB_UNKNOWN: 400,
  MANIFEST_INVALID: 400,
  MANIFEST_UNKNOWN: 404,
  NAME_INVALID: 404,
  NAME_UNKNOWN: 404,
  SIZE_INVALID: 400,
  UNAUTHORIZED: 401,
  UNSUPPORTED: 405,
  TOOMANYREQUESTS: 429,
  UNKNOWN: 500,
} as const;

export type RefusalCode = keyof typeof STATUS;

/** A refusal with the code of the specification, and its usual status. */
export function refusal(code: RefusalCode, message: string, status: number = STATUS[code]): Answer {
  return { ...json({ errors: [{ code, message }] }), status };
}

/** The headers that say which content an answer is about. */
export function namedBy(digest: Digest): Record<string, string> {
  return { 'Docker-Content-Digest': digest, ETag: `"${digest}"` };
}
