import type { Digest } from '../oci/digest.ts';
import { formatPlatform } from '../registry/platform.ts';
import { readIndex, tagOf } from './index-file.ts';
import { readLayerRecord } from './layer-record.ts';
import { layerName } from './layers.ts';
import type { Store } from './store.ts';
import { imagesOf, type StoredImage } from './stored-image.ts';

/** What a name points to, with the images of it that are in the store. */
export interface ImageTree {
  /** Canonical names with a tag; empty for an image without. */
  readonly names: readonly string[];
  readonly target: Digest;
  /** Bytes of all unpacked layers below it, each once. */
  readonly size: number;
  readonly platforms: readonly PlatformImage[];
}

export interface PlatformImage {
  /** `linux/amd64` */
  readonly platform: string;
  readonly id: Digest;
  /** Bytes of its unpacked layers. */
  readonly size: number;
  /** Bytes of those that other images of the store have, too. */
  readonly shared: number;
  readonly layers: number;
  readonly sharedLayers: number;
}

/** The images of a store by what their names point to, in the order of the index; what cannot be read is left out. */
export function imageTrees(store: Store): ImageTree[] {
  const { paths, host } = store;
  const groups = new Map<Digest, { readonly names: string[]; readonly ids: Set<Digest> }>();
  for (const entry of readIndex(paths).entries) {
    const keys = imagesOf(paths, entry, host);
    if (entry.isRemoved || keys.length === 0) continue;
    const group = groups.get(entry.target.digest) ?? { names: [], ids: new Set() };
    groups.set(entry.target.digest, group);
    if (entry.name !== undefined && tagOf(entry.name) !== undefined) group.names.push(entry.name);
    for (const { id } of keys) group.ids.add(id);
  }
  const images = new Map(store.list().map((image) => [image.id, image]));
  const layers = new Map([...images].map(([id, image]) => [id, layersOf(store, image)]));
  const users = new Map<Digest, number>();
  for (const all of layers.values()) {
    for (const name of all.keys()) users.set(name, (users.get(name) ?? 0) + 1);
  }
  return [...groups].map(([target, { names, ids }]) => {
    const group = [...ids].flatMap((id) => images.get(id) ?? []);
    const all = new Map(group.flatMap(({ id }) => [...(layers.get(id) ?? [])]));
    const platforms = group.map((image) => platformOf(image, layers.get(image.id) ?? new Map(), users));
    return { names, target, size: sum(all.values()), platforms };
  });
}

function platformOf(
  { id, config: { os, architecture, variant } }: StoredImage,
  layers: ReadonlyMap<Digest, number>,
  users: ReadonlyMap<Digest, number>,
): PlatformImage {
  const shared = [...layers].filter(([name]) => (users.get(name) ?? 0) > 1);
  return {
    platform: formatPlatform({ os, architecture, ...(variant === undefined ? {} : { variant }) }),
    id,
    size: sum(layers.values()),
    shared: sum(shared.map(([, bytes]) => bytes)),
    layers: layers.size,
    sharedLayers: shared.length,
  };
}

/** The unpacked layers with their bytes. */
function layersOf({ paths }: Store, { config }: StoredImage): Map<Digest, number> {
  const diffIds = config.rootfs.diff_ids;
  return new Map(
    diffIds.flatMap((_, position) => {
      const name = layerName(paths, diffIds, position);
      return name === undefined ? [] : [[name, readLayerRecord(paths, name)?.bytes ?? 0] as const];
    }),
  );
}

function sum(numbers: Iterable<number>): number {
  let total = 0;
  for (const one of numbers) total += one;
  return total;
}
