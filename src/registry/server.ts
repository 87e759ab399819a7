import { createReadStream, readFileSync, statSync } from 'node:fs';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { pipeline } from 'node:stream';
import { errorCode, TinyrunError } from '../errors.ts';
import { type Digest, hexOf, isDigest } from '../oci/digest.ts';
import type { Descriptor } from '../oci/image-spec.ts';
import { documentMediaType, LONGEST_MANIFEST, parseDocument } from './manifest.ts';
import { parseReference } from './reference.ts';

export interface ServeOptions {
  /** Repository → OCI layout directory; each layout's reference names are its tags. */
  readonly layouts?: Readonly<Record<string, string>>;
  /** One OCI layout directory whose reference names are `repository:tag`. */
  readonly layout?: string;
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** Default 0: any free one. */
  readonly port?: number;
}

export interface LayoutServer {
  /** Such as `http://127.0.0.1:5000`. */
  readonly url: string;
  /** `host:port`, as it stands in a reference. */
  readonly address: string;
  close(): Promise<void>;
}

const REF_NAME = 'org.opencontainers.image.ref.name';
/** Bytes per read of a blob file: at Node's default of 64 kB the thread pool is the bottleneck. */
const READ_SIZE = 512 * 1024;

/**
 * A read-only OCI distribution registry over OCI image layouts. The layouts are read anew for each manifest, so what is
 * added is there at once.
 * @throws TinyrunError `conflict` where the port is taken
 * @see https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pull
 */
export async function serveLayout(options: ServeOptions): Promise<LayoutServer> {
  const host = options.host ?? '127.0.0.1';
  const server = createServer((request, response) => send(request, response, answerSafely(options, request)));
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) =>
      reject(new TinyrunError('conflict', `Cannot listen on "${host}:${options.port ?? 0}"`, { cause })),
    );
    server.listen(options.port ?? 0, host, resolve);
  });
  const { port } = server.address() as AddressInfo;
  const address = `${host.includes(':') ? `[${host}]` : host}:${port}`;
  return {
    url: `http://${address}`,
    address,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** What goes back: a body in memory, or bytes `first` to `last` of a file. */
interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: Uint8Array;
  readonly file?: { readonly path: string; readonly first: number; readonly last: number };
}

function send(
  request: IncomingMessage,
  response: ServerResponse,
  { status, headers, body, file }: Answer,
): void {
  const length = file === undefined ? (body?.length ?? 0) : file.last - file.first + 1;
  response.writeHead(status, {
    ...headers,
    'Content-Length': length,
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

function answerSafely(options: ServeOptions, request: IncomingMessage): Answer {
  try {
    return answer(options, request);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return refusal(404, 'BLOB_UNKNOWN', 'blob unknown to registry');
    return refusal(500, 'UNKNOWN', 'cannot read the layout');
  }
}

/** The repository grammar keeps `..` and absolute names out; digests are checked before they become paths. */
const ROUTE = /^\/v2\/([a-z0-9]+(?:[._/-]+[a-z0-9]+)*)\/(manifests|blobs|tags)\/([a-zA-Z0-9_:.-]+)$/;

function answer(options: ServeOptions, request: IncomingMessage): Answer {
  const { method, url = '' } = request;
  if (method !== 'GET' && method !== 'HEAD') return refusal(405, 'UNSUPPORTED', 'the registry is read-only');
  const path = url.split('?', 1)[0] ?? '';
  if (path === '/v2/' || path === '/v2') return json({});
  if (path === '/v2/_catalog') return json({ repositories: repositories(options) });
  const [, repository = '', kind, name = ''] = ROUTE.exec(path) ?? [];
  if (kind === undefined) return refusal(404, 'NAME_INVALID', 'no such address');
  const found = findRepository(options, repository);
  if (found === undefined) return refusal(404, 'NAME_UNKNOWN', 'repository name not known to registry');
  if (kind === 'manifests') return manifestAnswer(found, name);
  if (kind === 'blobs') return blobAnswer(found, name, request.headers.range);
  if (name !== 'list') return refusal(404, 'NAME_INVALID', 'no such address');
  return json({ name: repository, tags: [...found.tags.keys()].sort() });
}

interface Repository {
  readonly directory: string;
  readonly tags: ReadonlyMap<string, Descriptor>;
}

function indexOf(directory: string): readonly Descriptor[] {
  const document = parseDocument(readFileSync(join(directory, 'index.json')));
  return document.kind === 'index' ? document.index.manifests : [];
}

function findRepository({ layouts = {}, layout }: ServeOptions, repository: string): Repository | undefined {
  const directory = Object.hasOwn(layouts, repository) ? layouts[repository] : undefined;
  if (directory !== undefined) {
    const tags = indexOf(directory).flatMap((entry) => {
      const name = entry.annotations?.[REF_NAME];
      // skopeo writes no name for an image without tag, and full references exist too.
      return [[name === undefined ? 'latest' : (name.split(':').at(-1) ?? name), entry] as const];
    });
    return { directory, tags: new Map(tags) };
  }
  if (layout === undefined) return undefined;
  const tags = indexOf(layout).flatMap((entry) => {
    const named = splitName(entry.annotations?.[REF_NAME] ?? '');
    return named?.repository === repository ? [[named.tag, entry] as const] : [];
  });
  // An entry without a tag has its repository, but only its digest names it.
  const tagged = tags.flatMap(([tag, entry]) => (tag === undefined ? [] : [[tag, entry] as const]));
  return tags.length === 0 ? undefined : { directory: layout, tags: new Map(tagged) };
}

/** `busybox:latest` and `docker.io/library/busybox:latest` are both served as `library/busybox`. */
function splitName(name: string): { repository: string; tag: string | undefined } | undefined {
  try {
    const { repository, tag, digest } = parseReference(name);
    return { repository, tag: tag ?? (digest === undefined ? 'latest' : undefined) };
  } catch {
    return undefined;
  }
}

function repositories({ layouts = {}, layout }: ServeOptions): string[] {
  const named =
    layout === undefined
      ? []
      : indexOf(layout).flatMap(({ annotations }) => splitName(annotations?.[REF_NAME] ?? '') ?? []);
  return [...new Set([...Object.keys(layouts), ...named.map(({ repository }) => repository)])].sort();
}

function blobPath(directory: string, digest: Digest): string {
  return join(directory, 'blobs', 'sha256', hexOf(digest));
}

function manifestAnswer(found: Repository, name: string): Answer {
  const unknown = refusal(404, 'MANIFEST_UNKNOWN', 'manifest unknown');
  const digest = isDigest(name) ? name : found.tags.get(name)?.digest;
  if (digest === undefined) return unknown;
  const path = blobPath(found.directory, digest);
  const size = statSync(path, { throwIfNoEntry: false })?.size;
  if (size === undefined || size > LONGEST_MANIFEST) return unknown;
  const body = readFileSync(path);
  let mediaType: string;
  try {
    mediaType = documentMediaType(body);
  } catch {
    // A layer or a config: a blob, but no manifest.
    return unknown;
  }
  return { status: 200, headers: { 'Content-Type': mediaType, ...namedBy(digest) }, body };
}

function namedBy(digest: Digest): Record<string, string> {
  return { 'Docker-Content-Digest': digest, ETag: `"${digest}"` };
}

function blobAnswer(found: Repository, name: string, rangeHeader: string | undefined): Answer {
  if (!isDigest(name)) return refusal(400, 'DIGEST_INVALID', 'provided digest is not a sha256 digest');
  const path = blobPath(found.directory, name);
  const size = statSync(path).size;
  const range = parseRange(rangeHeader, size);
  if (range === 'unsatisfiable') return { status: 416, headers: { 'Content-Range': `bytes */${size}` } };
  const [first, last] = range ?? [0, size - 1];
  return {
    status: range === undefined ? 200 : 206,
    headers: {
      'Content-Type': 'application/octet-stream',
      'Accept-Ranges': 'bytes',
      ...namedBy(name),
      ...(range === undefined ? {} : { 'Content-Range': `bytes ${first}-${last}/${size}` }),
    },
    file: { path, first, last },
  };
}

/** One range as first and last byte; anything else is answered with the whole blob, as RFC 9110 allows. */
function parseRange(
  header: string | undefined,
  size: number,
): [number, number] | 'unsatisfiable' | undefined {
  const match = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header ?? '');
  if (match === null || (match[1] === '' && match[2] === '')) return undefined;
  const isSuffix = match[1] === '';
  const first = isSuffix ? Math.max(0, size - Number(match[2])) : Number(match[1]);
  const last = isSuffix || match[2] === '' ? size - 1 : Math.min(Number(match[2]), size - 1);
  return first > last ? 'unsatisfiable' : [first, last];
}

function json(value: unknown, status = 200): Answer {
  return {
    status,
    headers: { 'Content-Type': 'application/json' },
    body: Buffer.from(JSON.stringify(value)),
  };
}

/** @see https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes */
function refusal(status: number, code: string, message: string): Answer {
  return json({ errors: [{ code, message }] }, status);
}
