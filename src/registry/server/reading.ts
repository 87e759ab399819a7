import { readFileSync, statSync } from 'node:fs';
import { TinyrunError } from '../../errors.ts';
import { type Digest, isDigest } from '../../oci/digest.ts';
import { type Descriptor, MEDIA_TYPE } from '../../oci/image-spec.ts';
import { LONGEST_MANIFEST } from '../manifest.ts';
import { type Answer, json, namedBy, refusal } from './answer.ts';
import { parseServedManifest, type ServedManifest } from './served-manifest.ts';
import type { ShelfRepository } from './shelf.ts';

/** Indexes below indexes. */
const DEEPEST = 4;

export function manifestAnswer(found: ShelfRepository, name: string): Answer {
  const unknown = refusal('MANIFEST_UNKNOWN', 'manifest unknown');
  const digest = isDigest(name) ? name : found.tags.get(name)?.digest;
  if (digest === undefined || !isIn(found, digest)) return unknown;
  const read = readManifest(found, digest);
  if (read === undefined) return unknown;
  return {
    status: 200,
    headers: { 'Content-Type': read.manifest.mediaType, ...namedBy(digest) },
    body: read.bytes,
  };
}

/** Whether a manifest belongs to a repository: by a name of its own, or as part of an index. */
export function isIn(found: ShelfRepository, digest: Digest): boolean {
  const search = (entries: readonly Descriptor[], depth: number): boolean => {
    if (entries.some((entry) => entry.digest === digest)) return true;
    if (depth === DEEPEST) return false;
    return entries
      .filter(({ mediaType }) => /index|manifest\.list/.test(mediaType))
      .some((entry) => search(readManifest(found, entry.digest)?.manifest.manifests ?? [], depth + 1));
  };
  return search(found.targets, 0);
}

/** Undefined where it is missing, or no manifest at all: a layer or a config. */
function readManifest(
  found: ShelfRepository,
  digest: Digest,
): { readonly bytes: Buffer; readonly manifest: ServedManifest } | undefined {
  const path = found.blobPath(digest);
  const size = statSync(path, { throwIfNoEntry: false })?.size;
  if (size === undefined || size > LONGEST_MANIFEST) return undefined;
  const bytes = readFileSync(path);
  try {
    return { bytes, manifest: parseServedManifest(bytes) };
  } catch (error) {
    if (error instanceof TinyrunError) return undefined;
    throw error;
  }
}

/** @see https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers */
export function referrersAnswer(
  found: ShelfRepository | undefined,
  digest: string,
  query: URLSearchParams,
): Answer {
  if (!isDigest(digest)) return refusal('DIGEST_INVALID', 'provided digest is not a sha256 digest', 400);
  const wanted = query.get('artifactType') || undefined;
  const manifests = (found?.targets ?? []).flatMap((target) => {
    const read = found === undefined ? undefined : readManifest(found, target.digest);
    if (read?.manifest.subject?.digest !== digest) return [];
    const { mediaType, artifactType, annotations } = read.manifest;
    if (wanted !== undefined && artifactType !== wanted) return [];
    return [{ mediaType, digest: target.digest, size: read.bytes.length, artifactType, annotations }];
  });
  return json(
    { schemaVersion: 2, mediaType: MEDIA_TYPE.ociIndex, manifests },
    {
      'Content-Type': MEDIA_TYPE.ociIndex,
      ...(wanted === undefined ? {} : { 'OCI-Filters-Applied': 'artifactType' }),
    },
  );
}

/**
 * A page of a sorted list, by the queries `n` (how many) and `last` (after which).
 * @param path of the list, for the link to the next page
 */
export function pageOf(
  all: readonly string[],
  query: URLSearchParams,
  path: string,
): { readonly page: readonly string[]; readonly headers: Readonly<Record<string, string>> } | undefined {
  const said = query.get('n');
  if (said !== null && !/^\d{1,9}$/.test(said)) return undefined;
  const last = query.get('last');
  const rest = last === null ? all : all.filter((name) => name > last);
  const page = said === null ? rest : rest.slice(0, Number(said));
  if (page.length === rest.length || page.length === 0) return { page, headers: {} };
  const next = new URLSearchParams({ n: String(page.length), last: page.at(-1) ?? '' });
  return { page, headers: { Link: `<${path}?${next}>; rel="next"` } };
}

/** @throws ENOENT where there is no such blob */
export function blobAnswer(path: string, digest: Digest, rangeHeader: string | undefined): Answer {
  const { size } = statSync(path);
  const range = parseRange(rangeHeader, size);
  if (range === 'unsatisfiable') return { status: 416, headers: { 'Content-Range': `bytes */${size}` } };
  const [first, last] = range ?? [0, size - 1];
  return {
    status: range === undefined ? 200 : 206,
    headers: {
      'Content-Type': 'application/octet-stream',
      'Accept-Ranges': 'bytes',
      ...namedBy(digest),
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
