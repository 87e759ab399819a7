import type { GcPolicy } from '../image/gc-policy.ts';
import { familiarName, parseReference } from '../registry/reference.ts';
import type { Core } from './core.ts';
import { usesOf } from './images.ts';

export interface GcHow extends GcPolicy {
  /** Only says what would go. */
  readonly dryRun?: boolean;
}

export interface Collected {
  /** Familiar names. */
  readonly untagged: readonly string[];
  /** Image ids, and the layers that went with them. */
  readonly deleted: readonly string[];
  /** Bytes that are free now, or would be. */
  readonly reclaimed: number;
  /** False where a pull runs, which may need what seems to be garbage: what is deleted frees its bytes next time. */
  readonly isComplete: boolean;
}

/**
 * `system gc`: images that a policy gives up, blobs and layers that nothing needs, and what killed commands left. An image
 * that is used while this runs stays.
 */
export async function collectGarbage(core: Core, how: GcHow = {}): Promise<Collected> {
  const [{ chooseGarbage }, { lastUse }, { sizeOfImages, storeSizes, totalSize }] = await Promise.all([
    import('../image/gc-policy.ts'),
    import('../image/last-used.ts'),
    import('../image/prune.ts'),
  ]);
  const { paths } = core;
  const store = await core.store();
  const inUse = await usesOf(core);
  const sizes = storeSizes(paths);
  const images = store.list();
  const used = new Set(inUse().map(({ image }) => image));
  const candidates = images.map(({ id }) => ({ id, lastUse: lastUse(paths, id), isUsed: used.has(id) }));
  const sizeOf = (ids: ReadonlySet<string>): number =>
    sizeOfImages(
      paths,
      images.filter(({ id }) => ids.has(id)),
      sizes,
    );
  const gone = chooseGarbage(candidates, how, { sizeOf, now: Date.now() });
  if (how.dryRun === true) {
    const going = images.filter(({ id }) => gone.has(id));
    return {
      untagged: going.flatMap((image) => image.references.map((name) => familiarName(parseReference(name)))),
      deleted: going.map(({ id }) => id),
      reclaimed: totalSize(sizes) - sizeOf(new Set(images.flatMap(({ id }) => (gone.has(id) ? [] : id)))),
      isComplete: true,
    };
  }
  await store.repair();
  const seen = new Map(candidates.map((one) => [one.id, one.lastUse]));
  const removed = await store.prune(({ id }) => gone.has(id) && lastUse(paths, id) === seen.get(id), inUse);
  const isComplete = await store.collect(inUse);
  const reclaimed = Math.max(0, totalSize(sizes) - totalSize(storeSizes(paths)));
  return { untagged: removed.untagged, deleted: removed.deleted, reclaimed, isComplete };
}
