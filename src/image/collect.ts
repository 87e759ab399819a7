import { unlinkSync } from 'node:fs';
import type { Paths } from '../disk/paths.ts';
import { TinyrunError } from '../errors.ts';
import { type Digest, isDigest } from '../oci/digest.ts';
import { parseImageConfig } from '../registry/image-config.ts';
import { LONGEST_MANIFEST } from '../registry/manifest.ts';
import { parseServedManifest } from '../registry/server/served-manifest.ts';
import { blobSize, chainIds, digestsIn, readDocument } from './blobs.ts';
import { storedSteps } from './cached-steps.ts';
import type { IndexEntry } from './index-file.ts';
import { whileUnleased } from './lease.ts';
import type { ContainerUse } from './removal.ts';
import { buryLayer, emptyTrash } from './repair.ts';
import { readManifest } from './stored-image.ts';

/** All that may keep a blob or a layer. */
export interface Holders {
  readonly entries: readonly IndexEntry[];
  readonly uses: readonly ContainerUse[];
}

interface Needed {
  readonly blobs: Set<Digest>;
  /** Names in `layers/`: diffIDs and chain IDs. */
  readonly layers: Set<Digest>;
}

/**
 * Deletes every blob and layer that nothing needs. Runs only while no pull or create holds a lease, and then renames
 * only; the deleting itself, which takes seconds for a large layer, comes after.
 * @param holders called under the exclusive lease
 * @returns false where somebody holds a lease: nothing was deleted
 * @throws TinyrunError `internal` where an image that is kept cannot be read: its layers are not known then
 */
export async function collectGarbage(paths: Paths, holders: () => Holders): Promise<boolean> {
  return sweep(paths, () => {
    const needed = neededBy(paths, holders());
    return { blobs: (digest) => !needed.blobs.has(digest), layers: (name) => !needed.layers.has(name) };
  });
}

/** What a failed pull made itself and nothing names: given back without a look at the containers. */
export function giveBack(paths: Paths, made: Needed, entries: () => readonly IndexEntry[]): boolean {
  return sweep(paths, () => {
    const needed = neededBy(paths, { entries: entries(), uses: [] });
    return {
      blobs: (digest) => made.blobs.has(digest) && !needed.blobs.has(digest),
      layers: (name) => made.layers.has(name) && !needed.layers.has(name),
    };
  });
}

/** The images that a removal deletes, each followed by the chain IDs of its layers that no other image has. */
export function layersThatGo(
  paths: Paths,
  plan: Holders & { readonly deleted: readonly Digest[] },
): Digest[] {
  if (plan.deleted.length === 0) return [];
  const kept = new Set(keptConfigs(plan).flatMap((id) => chainIds(diffIdsOf(paths, id) ?? [])));
  return plan.deleted.flatMap((id) => {
    const chain = chainIds(diffIdsOf(paths, id) ?? []).filter((name) => !kept.has(name));
    for (const name of chain) kept.add(name);
    return [id, ...chain.reverse()];
  });
}

function keptConfigs({ entries, uses }: Holders): Digest[] {
  const named = entries.flatMap((entry) => (entry.images ?? []).map((image) => image.id));
  return [...named, ...uses.map((use) => use.image)];
}

function neededBy(paths: Paths, holders: Holders): Needed {
  const blobs = new Set<Digest>();
  const layers = new Set<Digest>();
  for (const { target, images, isWhole } of holders.entries) {
    blobs.add(target.digest);
    // Another program's target of a kind that tinyrun does not know: its parts are kept, whatever they are.
    if (images === undefined || isWhole) addPartsOf(paths, target.digest, blobs);
    for (const { manifest, id } of images ?? []) {
      blobs.add(manifest);
      blobs.add(id);
      const layers = readable(() => readManifest(paths, manifest).layers);
      if (layers === undefined) throw unreadable('manifest', manifest);
      for (const layer of layers) blobs.add(layer.digest);
    }
  }
  for (const id of keptConfigs(holders)) {
    blobs.add(id);
    const diffIds = diffIdsOf(paths, id);
    if (diffIds === undefined) throw unreadable('config', id);
    for (const name of [...diffIds, ...chainIds(diffIds)]) layers.add(name);
  }
  // What builds remember stays until `builder prune`.
  for (const { layer } of storedSteps(paths)) {
    blobs.add(layer.descriptor.digest);
    layers.add(layer.diffId);
  }
  return { blobs, layers };
}

function unreadable(what: string, digest: Digest): TinyrunError {
  return new TinyrunError(
    'internal',
    `Cannot collect garbage: the ${what} "${digest}" of an image in use is missing or damaged`,
    { hint: 'Pull the image again, or remove it' },
  );
}

/** Undefined where the config is missing or damaged. */
function diffIdsOf(paths: Paths, id: Digest): readonly Digest[] | undefined {
  const bytes = readDocument(paths, id);
  return bytes === undefined ? undefined : readable(() => parseImageConfig(bytes).rootfs.diff_ids);
}

/** Undefined where a document is not what it should be. */
function readable<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof TinyrunError) return undefined;
    throw error;
  }
}

/**
 * What a manifest or index is made of, and what is below that: not what it is about (`subject`), which may go without it. Of
 * a document of another kind every digest that it mentions.
 */
export function addPartsOf(paths: Paths, digest: Digest, blobs: Set<Digest>): void {
  const seen = new Set<Digest>();
  const add = (of: Digest, depth: number): void => {
    const size = blobSize(paths, of);
    // Larger than a document can be: a layer.
    if (seen.has(of) || depth === DEEPEST || size === undefined || size > LONGEST_MANIFEST) return;
    seen.add(of);
    const bytes = readDocument(paths, of) ?? Buffer.alloc(0);
    const parsed = readable(() => parseServedManifest(bytes));
    const mentioned = parsed === undefined ? bytes.toString('latin1').match(/sha256:[a-f0-9]{64}/g) : [];
    for (const blob of parsed?.blobs ?? []) blobs.add(blob.digest);
    for (const below of [...(parsed?.manifests.map((one) => one.digest) ?? []), ...(mentioned ?? [])]) {
      if (!isDigest(below)) continue;
      blobs.add(below);
      add(below, depth + 1);
    }
  };
  add(digest, 0);
}

/** Documents below documents. */
const DEEPEST = 5;

function sweep(
  paths: Paths,
  plan: () => { blobs: (digest: Digest) => boolean; layers: (name: Digest) => boolean },
): boolean {
  const done = whileUnleased(paths, () => {
    const dead = plan();
    for (const digest of digestsIn(paths.blobs)) {
      if (dead.blobs(digest)) unlinkSync(paths.blob(digest));
    }
    for (const name of digestsIn(paths.layers)) {
      if (dead.layers(name)) buryLayer(paths, name);
    }
    return true;
  });
  if (done === true) emptyTrash(paths);
  return done ?? false;
}
