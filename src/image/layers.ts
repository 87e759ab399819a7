import { existsSync, mkdirSync } from 'node:fs';
import { makePrivateDirectory } from '../disk/atomic.ts';
import type { Paths } from '../disk/paths.ts';
import { errorCode, TinyrunError } from '../errors.ts';
import type { Digest } from '../oci/digest.ts';
import { chainIds } from './blobs.ts';

/**
 * The name under which a layer lies in `layers/`, or undefined where it is not unpacked.
 *
 * An unpacked layer does not depend on what is below it and is called by its diffID. The exception is one with a hard
 * link into a lower layer: overlay cannot express the link, so the file is copied in, the result depends on the
 * parents, and its name is the layer's chain ID. A layer is never in the store under both kinds of name for one image:
 * whether it needs its parents is a property of its tar.
 */
export function layerName(paths: Paths, diffIds: readonly Digest[], position: number): Digest | undefined {
  const diffId = diffIds[position];
  if (diffId === undefined) return undefined;
  if (existsSync(paths.layerFs(diffId))) return diffId;
  if (position === 0) return undefined;
  const chainId = chainIds(diffIds.slice(0, position + 1))[position];
  return chainId !== undefined && existsSync(paths.layerFs(chainId)) ? chainId : undefined;
}

/**
 * The directories of the layers, the top one first, as overlay's `lowerdir` wants them. A layer that stands twice in
 * an image is named once, at its upper place: overlay refuses the same directory twice (ELOOP), and the lower one
 * is hidden entirely by the upper. Nothing stands below a layer whose root is opaque.
 * @throws TinyrunError `not_found` where a layer is not unpacked
 */
export function lowerDirectories(paths: Paths, diffIds: readonly Digest[]): string[] {
  const directories = new Set<string>();
  for (let position = diffIds.length - 1; position >= 0; position -= 1) {
    const name = layerName(paths, diffIds, position);
    if (name === undefined) {
      throw new TinyrunError(
        'not_found',
        `Cannot use layer "${diffIds[position]}": it is not unpacked in the store`,
        {
          hint: 'Pull the image again',
        },
      );
    }
    directories.add(paths.layerFs(name));
    if (existsSync(paths.layerOpaque(name))) break;
  }
  return directories.size === 0 ? [emptyLayer(paths)] : [...directories];
}

/** False for an image of which only the blobs are here. */
export function isUnpacked(paths: Paths, diffIds: readonly Digest[]): boolean {
  return diffIds.every((_, position) => layerName(paths, diffIds, position) !== undefined);
}

/** Overlay wants a lower directory, and an image without layers (`FROM scratch` and no more) has none. */
function emptyLayer(paths: Paths): string {
  makePrivateDirectory(paths.layers);
  try {
    mkdirSync(paths.emptyLayer, { mode: 0o755 });
  } catch (error) {
    if (errorCode(error) !== 'EEXIST') throw error;
  }
  return paths.emptyLayer;
}

/** Linux: OVL_MAX_STACK. */
const MOST_LAYERS = 500;

/**
 * Refuses an image that no container can be made of, before anything of it is downloaded.
 * @throws TinyrunError `unsupported`
 */
export function requireStackable(diffIds: readonly Digest[]): void {
  const count = new Set(diffIds).size;
  if (count <= MOST_LAYERS) return;
  throw new TinyrunError(
    'unsupported',
    `Cannot use the image: it has ${count} layers, and overlay stacks ${MOST_LAYERS} at most`,
  );
}
