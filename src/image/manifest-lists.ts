import { readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { makePrivateDirectory, readJson, writeJson } from '../disk/atomic.ts';
import { withLock } from '../disk/lock.ts';
import type { Paths } from '../disk/paths.ts';
import { TinyrunError } from '../errors.ts';
import { hexOf } from '../oci/digest.ts';
import { type Descriptor, MEDIA_TYPE, type Platform } from '../oci/image-spec.ts';
import { digestOf } from './blobs.ts';

/** A manifest list (or index) that is made here, to be pushed. */
export interface ManifestList {
  /** Canonical. */
  readonly name: string;
  readonly entries: readonly ListEntry[];
}

export interface ListEntry {
  /** Canonical: where the manifest is. */
  readonly reference: string;
  readonly descriptor: Descriptor;
  readonly platform: ListPlatform;
  /** The manifest's own bytes, base64. */
  readonly bytes: string;
}

export interface ListPlatform extends Platform {
  readonly 'os.features'?: readonly string[];
}

/** Undefined where there is none of this canonical name. */
export function readList(paths: Paths, name: string): ManifestList | undefined {
  return readJson(fileOf(paths, name), parseList);
}

/** @param change undefined: there is no such list yet; what it gives is written */
export async function changeList(
  paths: Paths,
  name: string,
  change: (list: ManifestList | undefined) => ManifestList,
): Promise<void> {
  makePrivateDirectory(paths.manifestLists);
  await withLock(join(paths.manifestLists, 'lock'), 'exclusive', () =>
    writeJson(fileOf(paths, name), change(readList(paths, name))),
  );
}

export function removeList(paths: Paths, name: string): void {
  rmSync(fileOf(paths, name), { force: true });
}

/** The canonical names of all. */
export function listNames(paths: Paths): string[] {
  try {
    return readdirSync(paths.manifestLists)
      .filter((file) => file.endsWith('.json'))
      .flatMap((file) => readJson(join(paths.manifestLists, file), parseList)?.name ?? [])
      .sort();
  } catch {
    return [];
  }
}

/** The entries with one more; one of the same reference is replaced. */
export function withEntry(list: ManifestList, entry: ListEntry): ManifestList {
  const at = list.entries.findIndex(({ reference }) => reference === entry.reference);
  const entries =
    at < 0 ? [...list.entries, entry] : list.entries.map((one, index) => (index === at ? entry : one));
  return { ...list, entries };
}

/** The document that is pushed: Docker's kind where all its manifests are Docker's, else an OCI index. */
export function documentOf({ entries }: ManifestList): {
  readonly mediaType: string;
  readonly bytes: Buffer;
} {
  const isDocker = entries.every(({ descriptor }) => descriptor.mediaType === MEDIA_TYPE.dockerManifest);
  const mediaType = isDocker ? MEDIA_TYPE.dockerManifestList : MEDIA_TYPE.ociIndex;
  const manifests = entries.map(({ descriptor: { mediaType: type, digest, size }, platform }) => {
    if (platform.os === '' || platform.architecture === '') throw unnamed(entries, digest);
    return { mediaType: type, size, digest, platform };
  });
  return {
    mediaType,
    bytes: Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, manifests }, null, 3)),
  };
}

function unnamed(entries: readonly ListEntry[], digest: string): TinyrunError {
  const reference = entries.find(({ descriptor }) => descriptor.digest === digest)?.reference ?? digest;
  return new TinyrunError(
    'invalid',
    `manifest ${reference} must have an OS and Architecture to be pushed to a registry`,
  );
}

function fileOf(paths: Paths, name: string): string {
  return join(paths.manifestLists, `${hexOf(digestOf(name))}.json`);
}

/** Written by tinyrun alone; what is not a list at all is damaged. */
function parseList(value: unknown): ManifestList {
  const list = value as ManifestList;
  if (typeof list.name !== 'string' || !Array.isArray(list.entries)) throw new Error('not a manifest list');
  return list;
}
