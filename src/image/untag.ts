import { withLock } from '../disk/lock.ts';
import type { Paths } from '../disk/paths.ts';
import { TinyrunError } from '../errors.ts';
import type { Digest } from '../oci/digest.ts';
import { familiarName, parseReference } from '../registry/reference.ts';
import { demoted, type IndexEntry, readIndex, tagOf, writeIndex } from './index-file.ts';

/**
 * Takes names from an image, which stays.
 * @param names canonical; empty: all its tags
 * @returns the names that went
 * @throws TinyrunError `not_found` for a name that the image does not have
 */
export async function untag(paths: Paths, id: Digest, names: readonly string[]): Promise<readonly string[]> {
  return withLock(paths.indexLock, 'exclusive', () => {
    const index = readIndex(paths);
    const own = index.entries.filter(
      ({ name, images }) =>
        name !== undefined && tagOf(name) !== undefined && images?.some((image) => image.id === id),
    );
    const wanted = names.length === 0 ? own.flatMap(({ name }) => name ?? []) : names;
    for (const name of wanted) {
      if (!own.some((entry) => entry.name === name))
        throw new TinyrunError('not_found', `${familiarName(parseReference(name))}: tag not known`);
    }
    const entries = own
      .filter(({ name }) => wanted.includes(name ?? ''))
      .reduce<readonly IndexEntry[]>((all, entry) => {
        const rest = all.filter((one) => one !== entry);
        return [...rest, ...demoted(entry, rest)];
      }, index.entries);
    if (wanted.length > 0) writeIndex(paths, { ...index, entries });
    return wanted;
  });
}
