import type { IncomingMessage } from 'node:http';
import { errorCode } from '../../errors.ts';
import { isDigest } from '../../oci/digest.ts';
import { type Answer, json, refusal } from './answer.ts';
import { blobAnswer, manifestAnswer, pageOf, referrersAnswer } from './reading.ts';
import type { Shelf } from './shelf.ts';
import {
  beginUpload,
  type Change,
  continueUpload,
  putManifest,
  removeBlob,
  removeManifest,
} from './writing.ts';

/** The repository grammar keeps `..` and absolute names out; digests are checked before they become paths. */
const NAME = '([a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*)';
const UPLOAD = new RegExp(`^/v2/${NAME}/blobs/uploads/([0-9a-f-]{36})?$`);
const ROUTE = new RegExp(`^/v2/${NAME}/(manifests|blobs|tags|referrers)/([a-zA-Z0-9_:.+-]+)$`);
/** Characters. */
const LONGEST_REPOSITORY = 255;
const LONGEST_URL = 16 << 10;

/** @see https://github.com/opencontainers/distribution-spec/blob/main/spec.md#endpoints */
export async function answer(
  shelf: Shelf,
  request: IncomingMessage,
  onError: (error: unknown) => void = () => {},
): Promise<Answer> {
  try {
    return await route(shelf, request);
  } catch (error) {
    const code = errorCode(error) ?? '';
    if (code === 'ENOENT') return refusal('BLOB_UNKNOWN', 'blob unknown to registry');
    // A client that goes away in the middle is nobody's error.
    const isGone = request.destroyed && !request.complete;
    if (!isGone) onError(error);
    if (['ENOSPC', 'EDQUOT'].includes(code)) return refusal('UNKNOWN', 'no space left on the device', 507);
    return refusal('UNKNOWN', 'the registry cannot read or write its files');
  }
}

async function route(shelf: Shelf, request: IncomingMessage): Promise<Answer> {
  const { method = '', url = '' } = request;
  if (url.length > LONGEST_URL) return refusal('UNSUPPORTED', 'the address is too long', 414);
  const [path = '', search = ''] = url.split('?', 2);
  const query = new URLSearchParams(search);
  const isReading = method === 'GET' || method === 'HEAD';
  if (isReading && (path === '/v2/' || path === '/v2')) return json({});
  if (isReading && path === '/v2/_catalog') {
    const paged = pageOf(shelf.repositories(), query, path);
    return paged === undefined ? wrongCount() : json({ repositories: paged.page }, paged.headers);
  }
  const [, uploadTo, id] = UPLOAD.exec(path) ?? [];
  const [, named, kind, name = ''] = ROUTE.exec(path) ?? [];
  const repository = uploadTo ?? named ?? '';
  if (repository === '') return refusal('NAME_INVALID', 'no such address');
  if (repository.length > LONGEST_REPOSITORY) return refusal('NAME_INVALID', 'the name is too long', 400);
  if (uploadTo === undefined && isReading)
    return read(shelf, request, { repository, kind, name, query, path });
  if (shelf.writer === undefined) return refusal('UNSUPPORTED', 'the registry is read-only');
  const change: Change = { writer: shelf.writer, repository, request, query };
  if (uploadTo !== undefined) {
    if (id !== undefined && /^(GET|HEAD|PATCH|PUT|DELETE)$/.test(method)) return continueUpload(change, id);
    if (id === undefined && method === 'POST') return beginUpload(change);
  } else if (kind === 'manifests') {
    if (method === 'PUT') return putManifest(change, name);
    if (method === 'DELETE') return removeManifest(change, name);
  } else if (kind === 'blobs' && method === 'DELETE') {
    return isDigest(name) ? removeBlob(change, name) : wrongDigest();
  }
  return refusal('UNSUPPORTED', 'no such operation');
}

interface Reading {
  readonly repository: string;
  readonly kind: string | undefined;
  readonly name: string;
  readonly query: URLSearchParams;
  readonly path: string;
}

async function read(shelf: Shelf, request: IncomingMessage, wanted: Reading): Promise<Answer> {
  const { repository, kind, name, query, path } = wanted;
  const found = shelf.repository(repository);
  if (kind === 'referrers') return referrersAnswer(found, name, query);
  if (kind === 'blobs' && shelf.writer !== undefined) {
    if (!isDigest(name)) return wrongDigest();
    // Who asks for it may be about to push what is made of it.
    if (request.method === 'HEAD') await shelf.writer.reserve();
    return blobAnswer(shelf.writer.blobPath(name), name, request.headers.range);
  }
  if (found === undefined) return refusal('NAME_UNKNOWN', 'repository name not known to registry');
  if (kind === 'manifests') return manifestAnswer(found, name);
  if (kind === 'blobs') {
    return isDigest(name) ? blobAnswer(found.blobPath(name), name, request.headers.range) : wrongDigest();
  }
  if (name !== 'list') return refusal('NAME_INVALID', 'no such address');
  const paged = pageOf([...found.tags.keys()].sort(), query, path);
  return paged === undefined ? wrongCount() : json({ name: repository, tags: paged.page }, paged.headers);
}

function wrongDigest(): Answer {
  return refusal('DIGEST_INVALID', 'provided digest is not a sha256 digest');
}

function wrongCount(): Answer {
  return refusal('UNSUPPORTED', 'the query "n" is no number', 400);
}
