import type { Digest } from '../oci/digest.ts';

/** What `system gc` may remove of the images that no container was made from. */
export interface GcPolicy {
  /** So many images, those used last, stay whatever the rest says. */
  readonly keepLast?: number;
  /** Images that were not used for so many milliseconds go. */
  readonly olderThan?: number;
  /** The ones used longest ago go until all images take no more than so many bytes. */
  readonly maxSize?: number;
}

export interface GcCandidate {
  readonly id: Digest;
  /** Milliseconds since the epoch. */
  readonly lastUse: number;
  /** A container was made from it. */
  readonly isUsed: boolean;
}

/**
 * The images that a policy removes. With `keepLast` alone everything else goes; with none of them nothing does.
 * @param sizeOf bytes that some images take together: what they share counts once
 * @param now milliseconds since the epoch
 */
export function chooseGarbage(
  images: readonly GcCandidate[],
  policy: GcPolicy,
  { sizeOf, now }: { sizeOf: (ids: ReadonlySet<Digest>) => number; now: number },
): Set<Digest> {
  const { keepLast = 0, olderThan, maxSize } = policy;
  const newestFirst = [...images].sort((a, b) => b.lastUse - a.lastUse);
  const free = newestFirst.filter(({ isUsed }, at) => !isUsed && at >= keepLast).reverse();
  const kept = new Set(images.map(({ id }) => id));
  const gone = new Set<Digest>();
  const remove = (id: Digest): void => {
    kept.delete(id);
    gone.add(id);
  };
  const isAlone = policy.keepLast !== undefined && olderThan === undefined && maxSize === undefined;
  for (const { id, lastUse } of free) {
    if (isAlone || (olderThan !== undefined && now - lastUse > olderThan)) remove(id);
  }
  for (const { id } of free) {
    if (maxSize === undefined || sizeOf(kept) <= maxSize) break;
    if (kept.has(id)) remove(id);
  }
  return gone;
}
