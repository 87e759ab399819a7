import { existsSync, unlinkSync } from 'node:fs';
import { makePrivateDirectory } from '../disk/atomic.ts';
import { withLock } from '../disk/lock.ts';
import type { Paths } from '../disk/paths.ts';
import type { Digest } from '../oci/digest.ts';
import type { Platform } from '../oci/image-spec.ts';
import { layoutShelf } from '../registry/server/layout-shelf.ts';
import { isIn } from '../registry/server/reading.ts';
import { parseServedManifest } from '../registry/server/served-manifest.ts';
import type { PutManifest, Removal, Shelf, ShelfWriter } from '../registry/server/shelf.ts';
import { blobSize, readDocument, writeDocument } from './blobs.ts';
import { addPartsOf } from './collect.ts';
import { type IndexEntry, readIndex, writeIndex } from './index-file.ts';
import { holdLease } from './lease.ts';
import type { ContainerUse } from './removal.ts';
import { adopted, type RemovalFrom, withManifest, withoutManifest, withoutTag } from './shelf-index.ts';
import { imagesOf } from './stored-image.ts';
import { openUploads } from './uploads.ts';

export interface ShelfOptions {
  readonly paths: Paths;
  readonly host: Platform;
  /** What was not pushed is not removed by clients either: the host relies on it. */
  readonly pushedOnly: boolean;
  /** The containers of the store. */
  readonly inUse: () => readonly ContainerUse[];
  /** Told when nothing is under way any more and something was removed. */
  readonly onRemoved: () => void;
}

/** Milliseconds after the last request of a push until blobs that no manifest names may be collected. */
const GRACE = 10 * 60_000;

/** The store, or another layout in its format, as a registry that clients write to. */
export function writableShelf(options: ShelfOptions): Shelf {
  makePrivateDirectory(options.paths.blobs);
  if (!existsSync(options.paths.index)) writeIndex(options.paths, readIndex(options.paths));
  return { ...layoutShelf(options.paths.root), writer: new StoreWriter(options) };
}

class StoreWriter implements ShelfWriter {
  readonly #options: ShelfOptions;
  readonly #uploads: ReturnType<typeof openUploads>;
  #lease: Promise<{ release(): void }> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #hasRemoved = false;

  constructor(options: ShelfOptions) {
    this.#options = options;
    this.#uploads = openUploads(options.paths);
  }

  blobPath(digest: Digest): string {
    return this.#options.paths.blob(digest);
  }

  begin(): ReturnType<ShelfWriter['begin']> {
    return this.#uploads.begin();
  }

  upload(id: string): ReturnType<ShelfWriter['upload']> {
    return this.#uploads.upload(id);
  }

  async reserve(): Promise<void> {
    this.#lease ??= holdLease(this.#options.paths);
    if (this.#timer === undefined) {
      this.#timer = setTimeout(() => void this.#release(), GRACE);
      // A server that is told to end does not wait for it.
      this.#timer.unref();
    } else {
      this.#timer.refresh();
    }
    await this.#lease;
  }

  async putManifest({ repository, tags, digest, bytes, manifest }: PutManifest): Promise<void> {
    const { paths, host } = this.#options;
    writeDocument(paths, digest, bytes);
    const target = { mediaType: manifest.mediaType, digest, size: bytes.byteLength };
    const images = imagesOf(paths, { target, annotations: {}, rest: {} }, host);
    // A part that is about something is found by its own entry only.
    const parts = manifest.manifests.filter((part) => !hasSubject(paths, part.digest));
    const put = { repository, tags, target, images, parts: new Set(parts.map((part) => part.digest)) };
    await this.#change((entries) => withManifest(entries, put));
  }

  async removeTag(repository: string, tag: string): Promise<Removal> {
    return this.#remove(repository, (entries, from) => withoutTag(entries, tag, from));
  }

  async removeManifest(repository: string, digest: Digest): Promise<Removal> {
    const removal = await this.#remove(repository, (entries, from) => withoutManifest(entries, digest, from));
    // Part of an index: that would be broken without it.
    const found = layoutShelf(this.#options.paths.root).repository(repository);
    return removal === 'unknown' && found !== undefined && isIn(found, digest) ? 'foreign' : removal;
  }

  async removeBlob(digest: Digest): Promise<Removal> {
    const { paths } = this.#options;
    if (blobSize(paths, digest) === undefined) return 'unknown';
    return withLock(paths.indexLock, 'exclusive', () => {
      if (this.#isNeeded(digest)) return 'foreign';
      unlinkSync(paths.blob(digest));
      return 'removed';
    });
  }

  async close(): Promise<void> {
    await this.#release();
  }

  #isNeeded(digest: Digest): boolean {
    const { paths, inUse } = this.#options;
    const needed = new Set<Digest>(inUse().map(({ image }) => image));
    for (const { target, images = [] } of readIndex(paths).entries) {
      needed.add(target.digest);
      addPartsOf(paths, target.digest, needed);
      for (const { manifest } of images) addPartsOf(paths, manifest, needed);
    }
    return needed.has(digest);
  }

  async #remove(
    repository: string,
    change: (
      entries: readonly IndexEntry[],
      from: RemovalFrom,
    ) => readonly IndexEntry[] | 'foreign' | undefined,
  ): Promise<Removal> {
    const { pushedOnly, inUse } = this.#options;
    let removal: Removal = 'removed';
    await this.#change((entries) => {
      const after = change(entries, { repository, pushedOnly, uses: inUse() });
      if (after === undefined || after === 'foreign') {
        removal = after ?? 'unknown';
        return entries;
      }
      return after;
    });
    if (removal === 'removed') this.#hasRemoved = true;
    if (this.#lease === undefined) this.#tellRemoved();
    return removal;
  }

  async #change(change: (entries: readonly IndexEntry[]) => readonly IndexEntry[]): Promise<void> {
    const { paths, pushedOnly } = this.#options;
    await withLock(paths.indexLock, 'exclusive', () => {
      const index = readIndex(paths);
      const before = pushedOnly ? index.entries : index.entries.map(adopted);
      const entries = change(before);
      if (entries !== before) writeIndex(paths, { ...index, entries });
    });
  }

  async #release(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const held = await this.#lease?.catch(() => undefined);
    this.#lease = undefined;
    held?.release();
    this.#tellRemoved();
  }

  #tellRemoved(): void {
    if (this.#hasRemoved) this.#options.onRemoved();
    this.#hasRemoved = false;
  }
}

function hasSubject(paths: Paths, digest: Digest): boolean {
  const bytes = readDocument(paths, digest);
  return bytes !== undefined && parseServedManifest(bytes).subject !== undefined;
}
