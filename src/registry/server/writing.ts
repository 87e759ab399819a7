import { statSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { TinyrunError } from '../../errors.ts';
import { type Digest, isDigest } from '../../oci/digest.ts';
import { LONGEST_MANIFEST } from '../manifest.ts';
import { sha256 } from '../manifest-fetch.ts';
import { printable } from '../printable.ts';
import { type Answer, namedBy, refusal } from './answer.ts';
import { parseServedManifest, type ServedManifest } from './served-manifest.ts';
import type { Removal, ShelfWriter, Upload } from './shelf.ts';

/** One request that changes something, as far as the functions here look at it. */
export interface Change {
  readonly writer: ShelfWriter;
  readonly repository: string;
  readonly request: IncomingMessage;
  readonly query: URLSearchParams;
}

const TAG = /^[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}$/;
/** Of one request, by the query `tag`. */
const MOST_TAGS = 100;

/** POST: a blob that is here already, a whole one, or the beginning of one. */
export async function beginUpload(change: Change): Promise<Answer> {
  const { writer, repository, request, query } = change;
  await writer.reserve();
  const mounted = query.get('mount');
  if (isDigest(mounted) && exists(writer.blobPath(mounted))) return created(repository, 'blobs', mounted);
  const digest = query.get('digest');
  if (digest !== null && !isDigest(digest)) return wrongDigest(digest);
  const algorithm = query.get('digest-algorithm');
  if (algorithm !== null && algorithm !== 'sha256') return wrongDigest(algorithm);
  const upload = writer.begin();
  if (upload === undefined) return refusal('TOOMANYREQUESTS', 'too many uploads are under way');
  if (digest === null) return accepted(repository, upload, 202);
  await upload.append(chunksOf(request), undefined);
  return finish(change, upload, digest);
}

/** PATCH, PUT, GET and DELETE of an upload. */
export async function continueUpload(change: Change, id: string): Promise<Answer> {
  const { writer, repository, request, query } = change;
  await writer.reserve();
  const upload = await writer.upload(id);
  if (upload === undefined) return refusal('BLOB_UPLOAD_UNKNOWN', 'blob upload unknown to registry');
  if (request.method === 'GET' || request.method === 'HEAD') return accepted(repository, upload, 204);
  if (request.method === 'DELETE') {
    await upload.cancel();
    return { status: 204, headers: {} };
  }
  const digest = query.get('digest');
  if (request.method === 'PUT' && !isDigest(digest)) return wrongDigest(digest ?? '');
  const range = contentRange(request);
  if (range === 'wrong') return refusal('SIZE_INVALID', 'Content-Range and Content-Length do not agree');
  if (!(await upload.append(chunksOf(request), range))) {
    const at = await accepted(repository, upload, 416);
    return {
      ...refusal('BLOB_UPLOAD_INVALID', 'the bytes do not follow those that are here'),
      headers: at.headers,
    };
  }
  if (request.method === 'PATCH' || !isDigest(digest)) return accepted(repository, upload, 202);
  return finish(change, upload, digest);
}

async function finish({ repository }: Change, upload: Upload, digest: Digest): Promise<Answer> {
  if (await upload.finish(digest)) return created(repository, 'blobs', digest);
  return refusal('DIGEST_INVALID', 'provided digest did not match uploaded content');
}

/** The first byte of `Content-Range: first-last`; undefined without the header. */
function contentRange({ headers }: IncomingMessage): number | 'wrong' | undefined {
  const said = headers['content-range'];
  if (said === undefined) return undefined;
  const match = /^(?:bytes )?(\d{1,15})-(\d{1,15})(?:\/(?:\d+|\*))?$/.exec(said);
  if (match === null) return 'wrong';
  const [first, last] = [Number(match[1]), Number(match[2])];
  const length = headers['content-length'];
  // Of nothing at all `0-0` cannot be told from one byte.
  const fits =
    length === undefined || Number(length) === last - first + 1 || (length === '0' && last === first);
  return fits ? first : 'wrong';
}

/** @param status 416 for bytes that do not fit */
async function accepted(repository: string, upload: Upload, status: number): Promise<Answer> {
  const offset = await upload.offset();
  return {
    status,
    headers: {
      Location: `/v2/${repository}/blobs/uploads/${upload.id}`,
      'Docker-Upload-UUID': upload.id,
      // There is no way to say that nothing is there; this is everybody's.
      Range: `0-${Math.max(0, offset - 1)}`,
    },
  };
}

export async function putManifest(change: Change, name: string): Promise<Answer> {
  const { writer, repository, request, query } = change;
  const tags = isDigest(name) ? query.getAll('tag') : [name];
  if (tags.length > MOST_TAGS) return refusal('UNSUPPORTED', `more than ${MOST_TAGS} tags at once`, 414);
  if (!tags.every((tag) => TAG.test(tag))) {
    return name.includes(':') ? wrongDigest(name) : refusal('MANIFEST_INVALID', 'the tag is no valid tag');
  }
  await writer.reserve();
  const bytes = await bodyOf(request);
  if (bytes === undefined) return refusal('MANIFEST_INVALID', `more than ${LONGEST_MANIFEST} bytes`, 413);
  const digest = sha256(bytes);
  if (isDigest(name) && name !== digest)
    return refusal('DIGEST_INVALID', 'provided digest did not match uploaded content');
  let manifest: ServedManifest;
  try {
    manifest = parseServedManifest(bytes, request.headers['content-type']);
  } catch (error) {
    if (error instanceof TinyrunError) return refusal('MANIFEST_INVALID', error.message);
    throw error;
  }
  for (const part of [...manifest.manifests, ...manifest.blobs]) {
    const size = statSync(writer.blobPath(part.digest), { throwIfNoEntry: false })?.size;
    if (size === undefined)
      return refusal('MANIFEST_BLOB_UNKNOWN', `blob unknown to registry: ${part.digest}`);
    if (size !== part.size)
      return refusal('MANIFEST_INVALID', `${part.digest} has ${size} bytes, the manifest says ${part.size}`);
  }
  await writer.putManifest({ repository, tags, digest, bytes, manifest });
  const answer = created(repository, 'manifests', digest);
  return {
    ...answer,
    headers: {
      ...answer.headers,
      ...(manifest.subject === undefined ? {} : { 'OCI-Subject': manifest.subject.digest }),
      ...(isDigest(name) && tags.length > 0 ? { 'OCI-Tag': tags.join(', ') } : {}),
    },
  };
}

export async function removeManifest(change: Change, name: string): Promise<Answer> {
  const { writer, repository } = change;
  const removal = isDigest(name)
    ? await writer.removeManifest(repository, name)
    : await writer.removeTag(repository, name);
  return removed(removal, 'MANIFEST_UNKNOWN', 'manifest unknown');
}

export async function removeBlob({ writer }: Change, digest: Digest): Promise<Answer> {
  return removed(await writer.removeBlob(digest), 'BLOB_UNKNOWN', 'blob unknown to registry');
}

function removed(removal: Removal, code: 'MANIFEST_UNKNOWN' | 'BLOB_UNKNOWN', message: string): Answer {
  if (removal === 'removed') return { status: 202, headers: {} };
  if (removal === 'unknown') return refusal(code, message);
  return refusal('UNSUPPORTED', 'it is part of something else that is here');
}

/** Who stops reading still wants to answer: the request is not destroyed then. */
function chunksOf(request: IncomingMessage): AsyncIterable<Uint8Array> {
  return request.iterator({ destroyOnReturn: false });
}

/** Undefined where it is too long; the rest is not read then. */
async function bodyOf(request: IncomingMessage): Promise<Buffer | undefined> {
  if (Number(request.headers['content-length'] ?? 0) > LONGEST_MANIFEST) return undefined;
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of chunksOf(request)) {
    length += chunk.length;
    if (length > LONGEST_MANIFEST) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, length);
}

function created(repository: string, kind: 'blobs' | 'manifests', digest: Digest): Answer {
  return {
    status: 201,
    headers: { Location: `/v2/${repository}/${kind}/${digest}`, ...namedBy(digest) },
  };
}

function wrongDigest(text: string): Answer {
  return refusal('DIGEST_INVALID', `expected a sha256 digest, not "${printable(text, 80)}"`);
}

function exists(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) !== undefined;
}
