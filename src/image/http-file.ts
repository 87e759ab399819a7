import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { TinyrunError } from '../errors.ts';
import type { Digest } from '../oci/digest.ts';
import { chunksOf } from '../registry/body.ts';
import type { Environment } from '../registry/proxy.ts';
import { openTransport, type Reply } from '../registry/transport.ts';

export interface HttpFileInput {
  readonly url: string;
  /** Written from its start; after a failure its content is undefined. */
  readonly file: string;
  readonly maxBytes: number;
  readonly env: Environment;
  /** For proxies and authorities as for registries; TLS is always verified. */
  readonly certsDirs?: readonly string[];
  /** Of the copy that is there: the server may answer that it is still right. */
  readonly known?: HttpFileVersion;
  /** Milliseconds without a byte; default 30,000. */
  readonly stallMs?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (current: number, total: number | undefined) => void;
}

export interface HttpFileVersion {
  readonly etag?: string;
  readonly lastModified?: string;
}

export interface HttpFile extends HttpFileVersion {
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
  /** Of Content-Disposition, a bare name. */
  readonly fileName?: string;
}

const USER_AGENT = 'tinyrun';

/**
 * Fetches a file that a Dockerfile or a command line names: redirects followed (never from https to http), size bounded.
 * @returns undefined where the known version is still right
 * @throws TinyrunError in BuildKit's words
 */
export async function fetchFile(input: HttpFileInput): Promise<HttpFile | undefined> {
  const transport = openTransport({
    env: input.env,
    certsDirs: input.certsDirs ?? [],
    userAgent: USER_AGENT,
    headersTimeout: input.stallMs ?? 30_000,
    stall: input.stallMs ?? 30_000,
    signal: input.signal,
  });
  try {
    const reply = await transport.follow({
      method: 'GET',
      url: urlOf(input.url),
      headers: conditions(input.known),
      insecure: false,
    });
    if (reply.status === 304 && input.known !== undefined) {
      reply.discard();
      return undefined;
    }
    if (reply.status < 200 || reply.status >= 300) {
      reply.discard();
      throw new TinyrunError(
        reply.status === 404 ? 'not_found' : 'unavailable',
        `invalid response status ${reply.status} for ${withoutSecrets(input.url)}`,
      );
    }
    return await save(reply, input);
  } finally {
    transport.close();
  }
}

function urlOf(text: string): URL {
  const url = new URL(text);
  if (url.protocol !== 'http:' && url.protocol !== 'https:')
    throw new TinyrunError('invalid', `Cannot fetch "${text}": it is neither http nor https`);
  url.hash = '';
  return url;
}

function withoutSecrets(text: string): string {
  const url = new URL(text);
  url.username = '';
  url.password = '';
  url.search = url.search === '' ? '' : '?…';
  return url.href;
}

function conditions(known: HttpFileVersion | undefined): Record<string, string> {
  return {
    accept: '*/*',
    // The bytes are to be those of the file: its checksum is compared.
    'accept-encoding': 'identity',
    ...(known?.etag === undefined ? {} : { 'if-none-match': known.etag }),
    ...(known?.lastModified === undefined ? {} : { 'if-modified-since': known.lastModified }),
  };
}

async function save(reply: Reply, { file, maxBytes, onProgress, url }: HttpFileInput): Promise<HttpFile> {
  const hash = createHash('sha256');
  const announced = Number(reply.header('content-length') ?? Number.NaN);
  const total = Number.isSafeInteger(announced) ? announced : undefined;
  const output = createWriteStream(file, { mode: 0o600 });
  const failed = once(output, 'close');
  let size = 0;
  try {
    for await (const chunk of chunksOf(reply.source)) {
      size += chunk.byteLength;
      if (size > maxBytes)
        throw new TinyrunError(
          'invalid',
          `Cannot fetch "${withoutSecrets(url)}": it is larger than ${maxBytes} bytes`,
        );
      hash.update(chunk);
      if (!output.write(chunk)) await once(output, 'drain');
      onProgress?.(size, total);
    }
  } finally {
    output.end();
    await failed;
  }
  const etag = reply.header('etag');
  const lastModified = reply.header('last-modified');
  const fileName = dispositionName(reply.header('content-disposition'));
  return {
    digest: `sha256:${hash.digest('hex')}` as Digest,
    size,
    ...(etag === undefined ? {} : { etag }),
    ...(lastModified === undefined ? {} : { lastModified }),
    ...(fileName === undefined ? {} : { fileName }),
  };
}

/** A name without any directory in it; undefined for one that is none. */
function dispositionName(header: string | undefined): string | undefined {
  const [, quoted, bare] = /;\s*filename=(?:"([^"\\]*)"|([^\s;"]+))/i.exec(header ?? '') ?? [];
  const name = (quoted ?? bare)?.split('/').at(-1);
  return name === undefined || ['', '.', '..'].includes(name) || name.includes('\0') ? undefined : name;
}
