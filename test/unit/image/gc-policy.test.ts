import { describe, expect, it } from 'vitest';
import { chooseGarbage, type GcCandidate, type GcPolicy } from '../../../src/image/gc-policy.ts';
import { type Digest, parseDigest } from '../../../src/oci/digest.ts';

const HOUR = 3_600_000;
const id = (letter: string): Digest => parseDigest(`sha256:${letter.repeat(64)}`);

/** Ten bytes each; `b` is in use. */
const IMAGES: readonly GcCandidate[] = [
  { id: id('a'), lastUse: 90 * HOUR, isUsed: false },
  { id: id('b'), lastUse: 10 * HOUR, isUsed: true },
  { id: id('c'), lastUse: 50 * HOUR, isUsed: false },
  { id: id('d'), lastUse: 70 * HOUR, isUsed: false },
];

function chosen(policy: GcPolicy): string[] {
  const sizeOf = (ids: ReadonlySet<Digest>): number => ids.size * 10;
  const gone = chooseGarbage(IMAGES, policy, { sizeOf, now: 100 * HOUR });
  return [...gone].map((one) => one.charAt('sha256:'.length));
}

describe('chooseGarbage()', () => {
  it('removes nothing without a policy', () => {
    expect(chosen({})).toEqual([]);
  });

  it('removes what was not used for so long, never what a container has', () => {
    expect(chosen({ olderThan: 40 * HOUR })).toEqual(['c']);
    expect(chosen({ olderThan: 0 })).toEqual(['c', 'd', 'a']);
  });

  it('removes the ones used longest ago until the rest is small enough', () => {
    expect(chosen({ maxSize: 40 })).toEqual([]);
    expect(chosen({ maxSize: 39 })).toEqual(['c']);
    expect(chosen({ maxSize: 15 })).toEqual(['c', 'd', 'a']);
  });

  it('keeps the last ones whatever the rest says, and alone keeps only them', () => {
    expect(chosen({ keepLast: 1 })).toEqual(['c', 'd']);
    expect(chosen({ keepLast: 2, maxSize: 0 })).toEqual(['c']);
    expect(chosen({ keepLast: 3, olderThan: 0 })).toEqual([]);
    expect(chosen({ keepLast: 0 })).toEqual(['c', 'd', 'a']);
  });
});
