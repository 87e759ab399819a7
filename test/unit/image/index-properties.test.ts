import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TinyrunError } from '../../../src/errors.ts';
import { type IndexEntry, putEntry } from '../../../src/image/index-file.ts';
import { findImages } from '../../../src/image/lookup.ts';
import { type ContainerUse, planRemoval, referencesOf } from '../../../src/image/removal.ts';
import { type Digest, parseDigest } from '../../../src/oci/digest.ts';

const digest = (n: number): Digest => parseDigest(`sha256:${String(n).repeat(64)}`);
const REPOSITORIES = ['docker.io/library/a', 'localhost:5000/b'];

type Step =
  | {
      readonly do: 'put';
      readonly repository: number;
      readonly tag: number;
      readonly image: number;
      readonly pulled: boolean;
    }
  | { readonly do: 'remove'; readonly repository: number; readonly tag: number; readonly force: boolean }
  | { readonly do: 'removeId'; readonly image: number; readonly force: boolean };

const small = (most: number): fc.Arbitrary<number> => fc.integer({ min: 0, max: most });
const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    do: fc.constant('put' as const),
    repository: small(1),
    tag: small(2),
    image: small(3),
    pulled: fc.boolean(),
  }),
  fc.record({ do: fc.constant('remove' as const), repository: small(1), tag: small(2), force: fc.boolean() }),
  fc.record({ do: fc.constant('removeId' as const), image: small(3), force: fc.boolean() }),
);
const uses: fc.Arbitrary<ContainerUse[]> = fc.array(
  fc.record({ id: fc.constant('c'.repeat(64)), running: fc.boolean(), image: small(3).map(digest) }),
  { maxLength: 2 },
);

const nameOf = ({ repository, tag }: { repository: number; tag: number }): string =>
  `${REPOSITORIES[repository]}:t${tag}`;

function apply(
  entries: readonly IndexEntry[],
  one: Step,
  inUse: readonly ContainerUse[],
): readonly IndexEntry[] {
  if (one.do === 'put') {
    const key = { manifest: digest(one.image), id: digest(one.image) };
    const target = { mediaType: 'x', digest: digest(one.image), size: 1 };
    const pulledFrom = REPOSITORIES[one.repository] ?? '';
    const source = { name: nameOf(one), ...(one.pulled ? { pulledFrom } : {}) };
    return putEntry(entries, { ...source, target, key }, true);
  }
  const text = one.do === 'remove' ? nameOf(one) : digest(one.image);
  const [found] = findImages(entries, text);
  if (found === undefined) return entries;
  const named = found.name === undefined ? {} : { name: found.name };
  try {
    return planRemoval(entries, { text, key: found.key, ...named, force: one.force, uses: inUse }).entries;
  } catch (error) {
    if (error instanceof TinyrunError && error.kind === 'conflict') return entries;
    throw error;
  }
}

describe('the index after any sequence of pulls, tags and removals', () => {
  it('has every name once, resolves what was put last, and keeps what containers need', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 25 }), uses, (steps, inUse) => {
        let entries: readonly IndexEntry[] = [];
        const expected = new Map<string, Digest>();
        const everPut = new Set<Digest>();
        for (const one of steps) {
          const before = entries;
          entries = apply(entries, one, inUse);
          if (one.do === 'put') {
            expected.set(nameOf(one), digest(one.image));
            everPut.add(digest(one.image));
          } else if (entries !== before) {
            for (const name of expected.keys()) {
              if (!entries.some((entry) => entry.name === name)) expected.delete(name);
            }
          }
          const names = entries.flatMap((entry) => entry.name ?? []);
          expect(new Set(names).size).toBe(names.length);
          for (const [name, id] of expected) expect(findImages(entries, name)[0]?.key.id).toBe(id);
          for (const use of inUse) {
            const wasThere = before.some((entry) => entry.images?.some((image) => image.id === use.image));
            if (wasThere) expect(findImages(entries, use.image)).not.toEqual([]);
          }
        }
        for (const id of everPut) {
          for (const name of referencesOf(entries, id)) expect(findImages(entries, name)).not.toEqual([]);
        }
      }),
      { numRuns: 500 },
    );
  });
});
