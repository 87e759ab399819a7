import type { Paths } from '../disk/paths.ts';
import { TinyrunError } from '../errors.ts';
import type { Digest } from '../oci/digest.ts';
import type { Platform } from '../oci/image-spec.ts';
import { hostPlatform, runsOn } from '../registry/platform.ts';
import { familiarName, parseReference } from '../registry/reference.ts';
import {
  type ImageKey,
  type ImageSource,
  type IndexEntry,
  putEntry,
  readIndex,
  type StoreIndex,
  type Target,
  writeIndex,
} from './index-file.ts';
import { lowerDirectories } from './layers.ts';
import { listImages, namesOf } from './listing.ts';
import { type Found, findImages } from './lookup.ts';
import type { ContainerUse } from './removal.ts';
import { loadImage, resolvedEntries, type StoredImage } from './stored-image.ts';

/** The images of one store. Opening does no I/O; reading is a few small synchronous reads and takes no lock. */
export interface Store {
  readonly paths: Paths;
  /** This machine, as images name it. */
  readonly host: Platform;
  /**
   * The image that a reference, an id, a prefix of an id (with or without `sha256:`) or `repository@digest` names, or
   * undefined. A full id also finds an image that was removed by force under a container. Of an index with several platforms in the store it is the host's, else the one pulled first.
   * @param platform takes only an image for this platform
   * @throws TinyrunError `invalid` for text that is neither a reference nor an id, and for an ambiguous prefix
   */
  resolve(text: string, platform?: Platform): StoredImage | undefined;
  /**
   * Every image that can be read, each platform of an index on its own, in the order of the index. For a listing that many
   * images must not make slow, `cached` takes created and size from a file that is valid as long as nothing came or went.
   */
  list(how?: { readonly cached?: boolean }): StoredImage[];
  /** The directories of an image's layers, top first. @throws TinyrunError `not_found` where one is not unpacked */
  lowerDirs(image: StoredImage): string[];
  /**
   * Keeps the collector away until released. Whoever relies on an image that no entry or container record names yet
   * (pull, create) holds one; waits while a collection runs (milliseconds).
   */
  lease(): Promise<{ release(): void }>;
  /**
   * Names an image; its blobs and layers are in the store already, under a lease.
   * @returns whether the name is new or points to something else than before
   */
  add(added: AddedImage): Promise<{ changed: boolean }>;
  /** `tag SOURCE NAME`. @throws TinyrunError `not_found` */
  tag(source: string, name: string): Promise<void>;
  /**
   * `rmi`: see planRemoval(). What nothing names any more is deleted from the disk, unless a pull is running: the next
   * removal does it then.
   * @throws TinyrunError `not_found`, `conflict` with Docker's texts
   */
  remove(text: string, options: RemoveOptions): Promise<RemovedImage>;
  /**
   * Removes the images that `choose` picks, with all their names; those that a container was made from stay.
   * @param choose called under the lock of the index
   */
  prune(choose: (image: StoredImage) => boolean, inUse: RemoveOptions['inUse']): Promise<RemovedImage>;
  /**
   * Deletes the blobs and layers that neither an image nor a container needs.
   * @returns false where it could not: a pull is running, or an image that is kept is damaged
   */
  collect(inUse: () => readonly ContainerUse[]): Promise<boolean>;
  /** Whether an image was removed by force under a container; it goes with that, by collect(). */
  wasRemoved(id: Digest): boolean;
  /** Clears away what killed commands left half-made. Cheap; pull() calls it. */
  repair(): Promise<void>;
}

export interface AddedImage extends ImageSource {
  readonly target: Target;
  readonly key: ImageKey;
  /** Whether it is what the host prefers among the platforms of the target. */
  readonly preferred: boolean;
}

export interface RemoveOptions {
  readonly force?: boolean;
  /** The containers of the store, with the images they were made from. */
  readonly inUse: () => readonly ContainerUse[];
}

export interface RemovedImage {
  /** Familiar names, for `Untagged: …`. */
  readonly untagged: readonly string[];
  /** Image ids, each followed by the chain IDs of the layers that went with it, for `Deleted: …`. */
  readonly deleted: readonly Digest[];
}

/** @param host default: this machine */
export function openStore(paths: Paths, host: Platform = hostPlatform(process.arch)): Store {
  return new LayoutStore(paths, host);
}

class LayoutStore implements Store {
  readonly paths: Paths;
  readonly host: Platform;

  constructor(paths: Paths, host: Platform) {
    this.paths = paths;
    this.host = host;
  }

  resolve(text: string, platform?: Platform): StoredImage | undefined {
    const entries = this.#entries();
    for (const found of findImages(entries, text)) {
      const image = this.#load(entries, found);
      const { os, architecture, variant } = image.config;
      const offered = { os, architecture, ...(variant === undefined ? {} : { variant }) };
      if (platform === undefined || runsOn(offered, platform)) return image;
    }
    return undefined;
  }

  list(how: { readonly cached?: boolean } = {}): StoredImage[] {
    return listImages(this.paths, this.#entries(), how.cached ?? false);
  }

  lowerDirs(image: StoredImage): string[] {
    return lowerDirectories(this.paths, image.config.rootfs.diff_ids);
  }

  async lease(): Promise<{ release(): void }> {
    const { holdLease } = await import('./lease.ts');
    return holdLease(this.paths);
  }

  async add(added: AddedImage): Promise<{ changed: boolean }> {
    return await this.#update((index) => {
      const known = index.entries.find((entry) => entry.name !== undefined && entry.name === added.name);
      return {
        entries: putEntry(index.entries, added, added.preferred),
        result: { changed: known?.target.digest !== added.target.digest },
      };
    });
  }

  async tag(source: string, name: string): Promise<void> {
    const { tagNameOf } = await import('./lookup.ts');
    const canonical = tagNameOf(name);
    await this.#update((index) => {
      const [found] = findImages(this.#resolved(index), source);
      if (found === undefined) throw noSuchImage(source);
      const { target, images } = found.entry;
      const entries = (images ?? []).reduce<readonly IndexEntry[]>(
        (all, key) => putEntry(all, { name: canonical, target, key }, false),
        index.entries,
      );
      return { entries, result: undefined };
    });
  }

  async remove(text: string, options: RemoveOptions): Promise<RemovedImage> {
    const [{ planRemoval }, { layersThatGo }] = await Promise.all([
      import('./removal.ts'),
      import('./collect.ts'),
    ]);
    const removed = await this.#update((index) => {
      const before = this.#resolved(index);
      const [found] = findImages(before, text);
      if (found === undefined) throw noSuchImage(text);
      const uses = options.inUse();
      const { key, name } = found;
      const force = options.force ?? false;
      const plan = planRemoval(before, {
        text,
        key,
        force,
        uses,
        ...(name === undefined ? {} : { name }),
      });
      const deleted = layersThatGo(this.paths, { ...plan, uses });
      return { entries: plan.entries, result: { untagged: plan.untagged, deleted } };
    });
    if (removed.deleted.length > 0) await this.collect(options.inUse);
    return removed;
  }

  async prune(choose: (image: StoredImage) => boolean, inUse: RemoveOptions['inUse']): Promise<RemovedImage> {
    const [{ removedBetween }, { layersThatGo }, { withoutImages }] = await Promise.all([
      import('./removal.ts'),
      import('./collect.ts'),
      import('./prune.ts'),
    ]);
    const removed = await this.#update((index) => {
      const before = this.#resolved(index);
      const uses = inUse();
      const used = new Set<Digest>(uses.map(({ image }) => image));
      const gone = this.list().filter((image) => !used.has(image.id) && choose(image));
      const entries = withoutImages(before, new Set(gone.map(({ id }) => id)));
      if (entries === before) return { entries: index.entries, result: { untagged: [], deleted: [] } };
      const plan = removedBetween(before, entries);
      const deleted = layersThatGo(this.paths, { ...plan, uses });
      return { entries, result: { untagged: plan.untagged, deleted } };
    });
    await this.collect(inUse);
    return removed;
  }

  async collect(inUse: () => readonly ContainerUse[]): Promise<boolean> {
    const { collectGarbage } = await import('./collect.ts');
    await this.#update((index) => {
      const uses = inUse();
      const entries = index.entries.filter(({ isRemoved, images = [] }) => {
        return !isRemoved || images.some(({ id }) => uses.some((use) => use.image === id));
      });
      return { entries: entries.length < index.entries.length ? entries : index.entries, result: undefined };
    });
    try {
      return await collectGarbage(this.paths, () => ({ entries: this.#entries(), uses: inUse() }));
    } catch (error) {
      // What a damaged image needs is not known. It is a reason to keep everything, none to fail what came before.
      if (error instanceof TinyrunError) return false;
      throw error;
    }
  }

  wasRemoved(id: Digest): boolean {
    return readIndex(this.paths).entries.some(
      ({ isRemoved, images }) => isRemoved && images?.some((image) => image.id === id),
    );
  }

  async repair(): Promise<void> {
    const { repairStore } = await import('./repair.ts');
    repairStore(this.paths);
  }

  #entries(): readonly IndexEntry[] {
    return this.#resolved(readIndex(this.paths));
  }

  #resolved(index: StoreIndex): readonly IndexEntry[] {
    return resolvedEntries(this.paths, index.entries, this.host);
  }

  #load(entries: readonly IndexEntry[], { entry, key }: Found): StoredImage {
    const naming = entries.filter((one) => one.images?.some((image) => image.id === key.id));
    return loadImage(this.paths, key, namesOf(naming, entry.target.digest));
  }

  async #update<T>(change: (index: StoreIndex) => { entries: readonly IndexEntry[]; result: T }): Promise<T> {
    const [{ withLock }, { makePrivateDirectory }] = await Promise.all([
      import('../disk/lock.ts'),
      import('../disk/atomic.ts'),
    ]);
    makePrivateDirectory(this.paths.blobs);
    return await withLock(this.paths.indexLock, 'exclusive', () => {
      const index = readIndex(this.paths);
      const { entries, result } = change(index);
      if (entries !== index.entries) writeIndex(this.paths, { ...index, entries });
      return result;
    });
  }
}

/** Docker's text. */
function noSuchImage(text: string): TinyrunError {
  let name = text;
  try {
    name = familiarName(parseReference(text));
  } catch {
    // An id: it is quoted as typed.
  }
  return new TinyrunError('not_found', `No such image: ${name}`);
}
