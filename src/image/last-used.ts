import { statSync, utimesSync } from 'node:fs';
import type { Paths } from '../disk/paths.ts';
import type { Digest } from '../oci/digest.ts';

/**
 * Notes that an image was used now. It is the time of its config's file: one system call, no state of its own, and it goes
 * with the image. What cannot be noted (a store on a read-only disk) is not worth an error.
 */
export function noteUse(paths: Paths, id: Digest, now: number = Date.now()): void {
  try {
    utimesSync(paths.blob(id), now / 1000, now / 1000);
  } catch {
    // Then it counts as used when it came.
  }
}

/** When an image was pulled, loaded, or a container was made of it, whichever was last; milliseconds since the epoch. */
export function lastUse(paths: Paths, id: Digest): number {
  return statSync(paths.blob(id), { throwIfNoEntry: false })?.mtimeMs ?? 0;
}
