import { TinyrunError } from '../errors.ts';
import type { ImageTree } from '../image/image-tree.ts';
import type { RemovedImage, Store } from '../image/store.ts';
import type { StoredImage } from '../image/stored-image.ts';
import { isUp } from './containers.ts';
import type { Core } from './core.ts';
import { imageEvent } from './events.ts';
import { listNow } from './query.ts';

/** All images of the store. */
export async function listImages(core: Core): Promise<StoredImage[]> {
  return (await core.store()).list({ cached: true });
}

/** `rmi`. @throws TinyrunError `not_found`, `conflict` in Docker's words */
export async function removeImage(
  core: Core,
  text: string,
  how: { readonly force?: boolean } = {},
): Promise<RemovedImage> {
  const store = await core.store();
  const ids = imageIds(store);
  const removed = await store.remove(text, {
    ...(how.force === undefined ? {} : { force: how.force }),
    inUse: await usesOf(core),
  });
  await removalEvents(core, ids, removed);
  return removed;
}

/** What the names of the store point to, with its platforms and what they share. */
export async function listTrees(core: Core): Promise<ImageTree[]> {
  const { imageTrees } = await import('../image/image-tree.ts');
  return imageTrees(await core.store());
}

/** `untag`: takes names from an image, which stays. @returns the canonical names that went */
export async function untagImage(
  core: Core,
  text: string,
  names: readonly string[] = [],
): Promise<readonly string[]> {
  const [{ untag }, { canonicalName, parseReference, withDefaultTag }] = await Promise.all([
    import('../image/untag.ts'),
    import('../registry/reference.ts'),
  ]);
  const image = (await core.store()).resolve(text);
  if (image === undefined) throw new TinyrunError('not_found', `No such image: ${text}`);
  return untag(
    core.paths,
    image.id,
    names.map((name) => canonicalName(withDefaultTag(parseReference(name)))),
  );
}

export interface PruneHow {
  /** Images with a tag, too, as long as no container was made from them. */
  readonly all?: boolean;
  /** Which of those; default: all of them. */
  readonly matches?: (image: StoredImage) => boolean;
}

export interface Pruned extends RemovedImage {
  /** Bytes of blobs and layers that are no longer there. */
  readonly reclaimed: number;
}

/** `image prune`: images that nothing names, or nothing uses. */
export async function pruneImages(core: Core, how: PruneHow = {}): Promise<Pruned> {
  const { storeSizes, totalSize } = await import('../image/prune.ts');
  const store = await core.store();
  const before = totalSize(storeSizes(core.paths));
  const ids = imageIds(store);
  const removed = await store.prune(
    (image) => {
      const isDangling = image.references.every((name) => name.includes('@'));
      return (isDangling || how.all === true) && (how.matches?.(image) ?? true);
    },
    await usesOf(core),
  );
  await removalEvents(core, ids, removed);
  const after = totalSize(storeSizes(core.paths));
  return { ...removed, reclaimed: Math.max(0, before - after) };
}

function imageIds(store: Store): ReadonlySet<string> {
  return new Set(store.list().map(({ id }) => id));
}

/** `tag`: gives an image another name. @throws TinyrunError `not_found`, `invalid` (name) */
export async function tagImage(core: Core, text: string, name: string): Promise<void> {
  const store = await core.store();
  await store.tag(text, name);
  await imageEvent(core, 'tag', store.resolve(text)?.id ?? text, name);
}

/** Docker's events of names and images that went. @param removed each image's id is followed by those of its layers */
async function removalEvents(core: Core, images: ReadonlySet<string>, removed: RemovedImage): Promise<void> {
  for (const name of removed.untagged) await imageEvent(core, 'untag', name);
  for (const id of removed.deleted) if (images.has(id)) await imageEvent(core, 'delete', id);
}

/** After a container has gone: its image goes with it where that was removed by force meanwhile. */
export async function collectAfter(core: Core, image: StoredImage['id']): Promise<void> {
  const store = await core.store();
  if (store.wasRemoved(image)) await store.collect(await usesOf(core));
}

/** The containers with the images they were made from, as they are whenever it is called. */
export async function usesOf(
  core: Core,
): Promise<() => { id: string; running: boolean; image: StoredImage['id'] }[]> {
  const lockIsHeld = await core.lockIsHeld();
  return () =>
    listNow(core, lockIsHeld).map(({ id, status, record }) => ({
      id,
      running: isUp(status),
      image: record.image.id,
    }));
}
