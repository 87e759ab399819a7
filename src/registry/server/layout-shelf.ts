import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type Digest, hexOf } from '../../oci/digest.ts';
import type { Descriptor } from '../../oci/image-spec.ts';
import { parseDocument } from '../manifest.ts';
import { DEFAULT_REGISTRY, parseReference, type Reference } from '../reference.ts';
import type { Shelf, ShelfRepository } from './shelf.ts';

/** The registry in the names of what clients have pushed, so that nobody can replace an image of Docker Hub by a push. */
export const PUSHED_REGISTRY = 'localhost';

const REF_NAME = 'org.opencontainers.image.ref.name';

/** An OCI layout whose reference names are `repository:tag`, with or without a registry in front, which does not count. */
export function layoutShelf(directory: string): Shelf {
  const index = cachedIndex(directory);
  const named = (): Named[] => index().flatMap(nameOf);
  return {
    repositories: () => [...new Set(named().map(({ reference }) => reference.repository))].sort(),
    repository(name) {
      const found = named().filter(({ reference }) => reference.repository === name);
      if (found.length === 0) return undefined;
      // Of several registries' images with one tag the last in this order counts.
      found.sort((a, b) => weight(a.reference) - weight(b.reference));
      const tags = found.flatMap(({ reference: { tag }, entry }) =>
        tag === undefined ? [] : [[tag, entry] as const],
      );
      return shelved(directory, new Map(tags), found);
    },
  };
}

/** Several layouts by repository; their reference names are tags. */
export function layoutsShelf(layouts: Readonly<Record<string, string>>): Shelf {
  return {
    repositories: () => Object.keys(layouts).sort(),
    repository(name) {
      const directory = Object.hasOwn(layouts, name) ? layouts[name] : undefined;
      if (directory === undefined) return undefined;
      const entries = readIndexOf(directory);
      const tags = entries.map((entry) => {
        const refName = entry.annotations?.[REF_NAME];
        // skopeo writes no name for an image without tag, and full references exist too.
        return [refName === undefined ? 'latest' : (refName.split(':').at(-1) ?? refName), entry] as const;
      });
      return shelved(
        directory,
        new Map(tags),
        entries.map((entry) => ({ entry })),
      );
    },
  };
}

interface Named {
  readonly entry: Descriptor;
  readonly reference: Reference;
}

function shelved(
  directory: string,
  tags: ReadonlyMap<string, Descriptor>,
  found: readonly { readonly entry: Descriptor }[],
): ShelfRepository {
  return {
    tags,
    targets: [...new Map(found.map(({ entry }) => [entry.digest, entry])).values()],
    blobPath: (digest) => blobPathIn(directory, digest),
  };
}

export function blobPathIn(directory: string, digest: Digest): string {
  return join(directory, 'blobs', 'sha256', hexOf(digest));
}

/** `busybox:latest` and `docker.io/library/busybox:latest` are both served as `library/busybox`. */
function nameOf(entry: Descriptor): Named[] {
  try {
    const reference = parseReference(entry.annotations?.[REF_NAME] ?? '');
    const { tag, digest } = reference;
    return [{ entry, reference: (tag ?? digest) ? reference : { ...reference, tag: 'latest' } }];
  } catch {
    return [];
  }
}

function weight({ registry }: Reference): number {
  return registry === PUSHED_REGISTRY ? 2 : registry === DEFAULT_REGISTRY ? 1 : 0;
}

function readIndexOf(directory: string): readonly Descriptor[] {
  const document = parseDocument(readFileSync(join(directory, 'index.json')));
  return document.kind === 'index' ? document.index.manifests : [];
}

/** The index as it is on the disk, parsed anew when it was replaced: it always is, by a rename. */
function cachedIndex(directory: string): () => readonly Descriptor[] {
  let state = '';
  let entries: readonly Descriptor[] = [];
  return () => {
    const found = statSync(join(directory, 'index.json'), { bigint: true, throwIfNoEntry: false });
    // A store in which nothing was pulled yet.
    if (found === undefined) return [];
    const { ino, mtimeNs, size } = found;
    const now = `${ino} ${mtimeNs} ${size}`;
    if (now !== state) {
      entries = readIndexOf(directory);
      state = now;
    }
    return entries;
  };
}
