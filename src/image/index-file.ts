import { rmSync, statSync, writeFileSync } from 'node:fs';
import { readJson, writeFileAtomic } from '../disk/atomic.ts';
import type { Paths } from '../disk/paths.ts';
import { errorCode, TinyrunError } from '../errors.ts';
import { type Digest, isDigest, parseDigest } from '../oci/digest.ts';

/**
 * `index.json` of the store: an OCI image index whose entries are the tagged targets.
 * @see https://github.com/opencontainers/image-spec/blob/main/image-layout.md#indexjson-file
 */
export interface StoreIndex {
  readonly entries: readonly IndexEntry[];
  /** Index-level keys that some other program wrote: kept as they are. */
  readonly rest: Readonly<Record<string, unknown>>;
}

/** One tagged (or dangling) target. */
export interface IndexEntry {
  /** The canonical reference: `docker.io/library/busybox:latest`, `…@sha256:…`; undefined for a dangling image. */
  readonly name?: string;
  readonly target: Target;
  /**
   * The platforms of the target that are in the store whole, the preferred one first: so that `run` need not read the
   * index blob, nor an id be looked for in every config. Undefined where another program wrote the entry.
   */
  readonly images?: readonly ImageKey[];
  /** The repository it was pulled from; its digest is a repo digest then. */
  readonly pulledFrom?: string;
  /** Removed by force while a container needs it: only that container may still find it, and it goes with it. */
  readonly isRemoved?: boolean;
  /** Everything below the target is kept, not only the images: it was pushed or copied here as a whole. */
  readonly isWhole?: boolean;
  /** Annotations of other programs, kept as they are. */
  readonly annotations: Readonly<Record<string, string>>;
  /** Fields of other programs (`platform`, `artifactType`, `urls`), kept as they are. */
  readonly rest: Readonly<Record<string, unknown>>;
}

/** What a name points to: an index or a manifest. */
export interface Target {
  readonly mediaType: string;
  readonly digest: Digest;
  /** Bytes. */
  readonly size: number;
}

/** An image of one platform: its manifest, and its config, whose digest is the image id. */
export interface ImageKey {
  readonly manifest: Digest;
  readonly id: Digest;
}

/** Where a name comes from. */
export interface ImageSource {
  /** The canonical reference; undefined for an image without a name. */
  readonly name?: string;
  /** The canonical repository it was pulled from. */
  readonly pulledFrom?: string;
}

/** containerd's annotation for the full reference. */
const NAME = 'io.containerd.image.name';
/**
 * What `skopeo … oci:ROOT:NAME` looks for. The full name, as other programs write it into layouts of many repositories:
 * of several images with the tag `latest` skopeo would only ever find the first.
 */
const REF_NAME = 'org.opencontainers.image.ref.name';
const IMAGES = 'dev.tinyrun.images';
const PULLED_FROM = 'dev.tinyrun.pulled-from';
const REMOVED = 'dev.tinyrun.removed';
const WHOLE = 'dev.tinyrun.whole';
const OURS = new Set([NAME, REF_NAME, IMAGES, PULLED_FROM, REMOVED, WHOLE]);

const EMPTY: StoreIndex = { entries: [], rest: {} };

/**
 * The index of the store, empty where there is none yet. One small synchronous read.
 * @throws TinyrunError `internal` where it is damaged
 */
export function readIndex(paths: Paths): StoreIndex {
  return readJson(paths.index, parseIndex) ?? EMPTY;
}

/**
 * Replaces the index; the caller holds `paths.indexLock`. One that becomes smaller can be written on a full disk, too: it
 * takes the space of the reserve, because removing images is how there will be space again.
 */
export function writeIndex(paths: Paths, index: StoreIndex): void {
  const text = `${JSON.stringify({
    ...index.rest,
    schemaVersion: 2,
    manifests: index.entries.map(encodeEntry),
  })}\n`;
  const before = sizeOf(paths.index);
  try {
    if (sizeOf(paths.ociLayout) === 0)
      writeFileAtomic(paths.ociLayout, '{"imageLayoutVersion":"1.0.0"}\n', { durable: false });
    writeFileAtomic(paths.index, text);
  } catch (error) {
    const isFull = ['ENOSPC', 'EDQUOT'].includes(errorCode(error) ?? '');
    if (!isFull || text.length >= before) throw error;
    rmSync(paths.indexReserve, { force: true });
    writeFileAtomic(paths.index, text);
  }
  keepReserve(paths, text.length);
}

/** Bytes; never less than the next index will have. */
const SMALLEST_RESERVE = 32 << 10;

function keepReserve(paths: Paths, indexSize: number): void {
  const size = Math.max(SMALLEST_RESERVE, 2 * indexSize);
  if (sizeOf(paths.indexReserve) >= indexSize + SMALLEST_RESERVE / 2) return;
  try {
    // Not zeros: there are file systems that store those in no space at all.
    writeFileSync(
      paths.indexReserve,
      Uint8Array.from({ length: size }, () => 256 * Math.random()),
      { mode: 0o600 },
    );
  } catch {
    // Not now; the next one to write the index tries again.
    rmSync(paths.indexReserve, { force: true });
  }
}

/** Bytes; 0 where it is missing. */
function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}

/** `docker.io/library/busybox@sha256:…` of an entry that was pulled. */
export function repoDigestOf(entry: IndexEntry): string | undefined {
  return entry.pulledFrom === undefined ? undefined : `${entry.pulledFrom}@${entry.target.digest}`;
}

/** The tag part of a canonical reference, or undefined for one by digest. */
export function tagOf(name: string): string | undefined {
  if (name.includes('@')) return undefined;
  const colon = name.lastIndexOf(':');
  return colon > name.lastIndexOf('/') ? name.slice(colon + 1) : undefined;
}

/** The repository part of a canonical reference: `docker.io/library/busybox`. */
export function repositoryOf(name: string): string {
  const at = name.indexOf('@');
  const bare = at < 0 ? name : name.slice(0, at);
  const tag = tagOf(bare);
  return tag === undefined ? bare : bare.slice(0, bare.length - tag.length - 1);
}

/**
 * The entries with an image put under a name. A name that pointed to something else leaves that dangling: under its
 * repo digest where it was pulled, else without a name, as Docker lists it.
 * @param first puts the image before the other platforms of the same target
 */
export function putEntry(
  entries: readonly IndexEntry[],
  added: ImageSource & { readonly target: Target; readonly key: ImageKey },
  first: boolean,
): readonly IndexEntry[] {
  const { name, target, key, pulledFrom } = added;
  // What has a name needs no second entry without one.
  if (name === undefined && entries.some((entry) => entry.name !== undefined && has(entry, target, key)))
    return entries;
  const known = entries.find((entry) => entry.name === name && entry.target.digest === target.digest);
  const before = known?.images ?? [];
  const others = before.filter((image) => image.manifest !== key.manifest);
  const kept = !first && others.length < before.length;
  const images = first ? [key, ...others] : kept ? before : [...others, key];
  const entry: IndexEntry = {
    annotations: {},
    rest: {},
    ...known,
    ...(name === undefined ? {} : { name }),
    target,
    images,
    ...(pulledFrom === undefined ? {} : { pulledFrom }),
  };
  if (known !== undefined) {
    const unchanged = JSON.stringify(known) === JSON.stringify(entry);
    return unchanged ? entries : entries.map((one) => (one === known ? entry : one));
  }
  const old = entries.find((one) => one.name !== undefined && one.name === name);
  // A dangling image that gets a name is no longer dangling.
  const rest = entries.filter(
    (one) => one !== old && !(one.name === undefined && one.target.digest === target.digest),
  );
  return [...rest, ...(old === undefined ? [] : demoted(old, rest)), entry];
}

function has(entry: IndexEntry, target: Target, key: ImageKey): boolean {
  const isThere = entry.images?.some(({ manifest }) => manifest === key.manifest) ?? false;
  return isThere && entry.target.digest === target.digest;
}

export function demoted(entry: IndexEntry, others: readonly IndexEntry[]): IndexEntry[] {
  const { name, pulledFrom, ...bare } = entry;
  if (pulledFrom === undefined) {
    return others.some((one) => one.target.digest === entry.target.digest) ? [] : [bare];
  }
  const digestName = `${pulledFrom}@${entry.target.digest}`;
  return others.some((one) => one.name === digestName) ? [] : [{ ...entry, name: digestName }];
}

function parseIndex(value: unknown): StoreIndex {
  const { manifests, ...rest } = record(value);
  if (!Array.isArray(manifests)) throw new TinyrunError('invalid', 'Cannot read "manifests": not a list');
  return { entries: manifests.map(parseEntry), rest };
}

function parseEntry(value: unknown): IndexEntry {
  const { mediaType, digest, size, annotations, ...rest } = record(value);
  if (typeof mediaType !== 'string' || typeof size !== 'number') {
    throw new TinyrunError('invalid', 'Cannot read an entry of "manifests": expected a descriptor');
  }
  const all = strings(annotations);
  const name = all[NAME];
  const images = parseImages(all[IMAGES]);
  const pulledFrom = all[PULLED_FROM];
  return {
    ...(name === undefined ? {} : { name }),
    target: { mediaType, digest: parseDigest(digest), size },
    ...(images === undefined ? {} : { images }),
    ...(pulledFrom === undefined ? {} : { pulledFrom }),
    ...(all[REMOVED] === undefined ? {} : { isRemoved: true }),
    ...(all[WHOLE] === undefined ? {} : { isWhole: true }),
    annotations: Object.fromEntries(
      Object.entries(all).filter(([key]) => !OURS.has(key) || (key === REF_NAME && name === undefined)),
    ),
    rest,
  };
}

function encodeEntry(entry: IndexEntry): Record<string, unknown> {
  const { name, target, images, pulledFrom } = entry;
  const annotations = {
    ...entry.annotations,
    ...(name === undefined ? {} : { [NAME]: name, [REF_NAME]: name }),
    ...(images === undefined ? {} : { [IMAGES]: images.map((key) => `${key.manifest}=${key.id}`).join(' ') }),
    ...(pulledFrom === undefined ? {} : { [PULLED_FROM]: pulledFrom }),
    ...(entry.isRemoved ? { [REMOVED]: 'true' } : {}),
    ...(entry.isWhole ? { [WHOLE]: 'true' } : {}),
  };
  return { ...entry.rest, ...target, ...(Object.keys(annotations).length > 0 ? { annotations } : {}) };
}

function parseImages(text: string | undefined): ImageKey[] | undefined {
  if (text === undefined) return undefined;
  const keys: ImageKey[] = [];
  // An artifact: it is known to have no image.
  if (text === '') return keys;
  for (const pair of text.split(' ')) {
    const [manifest, id] = pair.split('=');
    if (isDigest(manifest) && isDigest(id)) keys.push({ manifest, id });
  }
  return keys.length === 0 ? undefined : keys;
}

function record(value: unknown): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new TinyrunError('invalid', 'Cannot read it: expected a JSON object');
  }
  return value as Record<string, unknown>;
}

function strings(value: unknown): Record<string, string> {
  if (value === undefined) return {};
  const found = Object.entries(record(value)).filter(
    (pair): pair is [string, string] => typeof pair[1] === 'string',
  );
  return Object.fromEntries(found);
}
