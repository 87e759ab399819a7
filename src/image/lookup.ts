import { TinyrunError } from '../errors.ts';
import type { Digest } from '../oci/digest.ts';
import { canonicalName, canonicalRepository, parseReference, type Reference } from '../registry/reference.ts';
import { type ImageKey, type IndexEntry, repositoryOf } from './index-file.ts';

/** An image and the entry that led to it. */
export interface Found {
  readonly entry: IndexEntry;
  readonly key: ImageKey;
  /** The name in the index that the text stands for; undefined where it is an id. */
  readonly name?: string;
}

const ID = /^(?:sha256:)?([0-9a-f]{1,64})$/;

/**
 * What a text typed by a user names, the preferred platform first; empty where the store has no such image. A reference
 * is tried before an id, as Docker does, but 64 hex digits are always an id.
 * @throws TinyrunError `invalid` for text that is neither, and for a prefix that fits several images
 */
export function findImages(entries: readonly IndexEntry[], text: string): Found[] {
  const hex = ID.exec(text)?.[1];
  if (hex !== undefined && (hex.length === 64 || text.startsWith('sha256:')))
    return withId(entries, hex, text);
  const byName = named(entries, parseReference(text));
  // Only then: a short name may be the beginning of several ids.
  return byName.length > 0 || hex === undefined ? byName : withId(entries, hex, text);
}

/**
 * The name that `tag` gives, in full.
 * @throws TinyrunError `invalid` for a reference with a digest, with Docker's words
 */
export function tagNameOf(text: string): string {
  const reference = parseReference(text);
  if (reference.digest !== undefined) {
    throw new TinyrunError('invalid', 'refusing to create a tag with a digest reference');
  }
  return canonicalName(reference);
}

/** The name under which the index keeps a reference: by its digest alone where it has one. */
export function entryName(reference: Reference): string {
  const { digest } = reference;
  return digest === undefined ? canonicalName(reference) : `${canonicalRepository(reference)}@${digest}`;
}

function named(entries: readonly IndexEntry[], reference: Reference): Found[] {
  const name = entryName(reference);
  const repository = canonicalRepository(reference);
  const { digest } = reference;
  return entries.flatMap((entry): Found[] => {
    const images = entry.images ?? [];
    if (entry.name === name) return images.map((key) => ({ entry, key, name }));
    if (digest === undefined || ![entry.pulledFrom, ownRepository(entry)].includes(repository)) return [];
    if (entry.target.digest === digest) {
      return images.map((key) => ({ entry, key, ...(entry.pulledFrom === repository ? { name } : {}) }));
    }
    return images.filter((key) => key.manifest === digest).map((key) => ({ entry, key }));
  });
}

function ownRepository(entry: IndexEntry): string | undefined {
  return entry.name === undefined ? undefined : repositoryOf(entry.name);
}

function withId(entries: readonly IndexEntry[], prefix: string, text: string): Found[] {
  const found = new Map<Digest, Found>();
  for (const entry of entries) {
    if (entry.isRemoved && prefix.length < 64) continue;
    for (const key of entry.images ?? []) {
      if (key.id.startsWith(prefix, 'sha256:'.length) && !found.has(key.id))
        found.set(key.id, { entry, key });
    }
  }
  if (found.size > 1) {
    throw new TinyrunError(
      'invalid',
      `Cannot choose image "${text}": ${found.size} image ids begin with it, expected one`,
    );
  }
  return [...found.values()];
}
