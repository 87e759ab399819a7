import { constants } from 'node:fs';
import { lstat, open, readdir } from 'node:fs/promises';
import { errorCode } from '../errors.ts';

const DIRECTORY = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
/** A container may nest directories without end, and each level holds a descriptor here. */
const DEPTH_MAX = 500;
const GONE: ReadonlySet<string> = new Set(['ENOENT', 'ENOTDIR', 'ELOOP']);

/**
 * Bytes of the regular files below a directory; what vanishes meanwhile counts as nothing. Every step starts from an open
 * directory: a container that swaps one for a symbolic link leads nobody out of its files.
 */
export function treeSize(directory: string, depth = 0): Promise<number> {
  return unlessGone(async () => {
    await using handle = await open(directory, DIRECTORY);
    const here = `/proc/self/fd/${handle.fd}`;
    let total = 0;
    for (const entry of await readdir(here, { withFileTypes: true })) {
      const path = `${here}/${entry.name}`;
      if (entry.isDirectory() && depth < DEPTH_MAX) total += await treeSize(path, depth + 1);
      else if (entry.isFile()) total += await unlessGone(async () => (await lstat(path)).size);
    }
    return total;
  });
}

async function unlessGone(measure: () => Promise<number>): Promise<number> {
  try {
    return await measure();
  } catch (error) {
    if (GONE.has(errorCode(error) ?? '')) return 0;
    throw error;
  }
}
