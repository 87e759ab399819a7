import { statSync } from 'node:fs';
import type { Digest } from '../oci/digest.ts';
import type { Platform } from '../oci/image-spec.ts';
import { type Reference, withDefaultTag } from '../registry/reference.ts';
import type { Registry } from '../registry/registry.ts';
import { blobSize } from './blobs.ts';
import { readIndex } from './index-file.ts';
import { layerName } from './layers.ts';
import { entryName } from './lookup.ts';
import { chooseImage } from './pull.ts';
import type { Store } from './store.ts';

/** What a pull would do now. */
export interface PullForecast {
  readonly reference: Reference;
  /** What the reference points to in the registry. */
  readonly digest: Digest;
  readonly status: 'up-to-date' | 'newer' | 'missing';
  readonly layers: readonly LayerForecast[];
}

export interface LayerForecast {
  readonly digest: Digest;
  /** Bytes, as in the registry. */
  readonly size: number;
  /** Bytes of it that are here, from an earlier pull that broke off or because it is there whole. */
  readonly present: number;
  /** Whether it has to be unpacked. */
  readonly isUnpacked: boolean;
}

/** Asks the registry, downloads a few documents at the most, and keeps nothing. */
export async function forecastPull(
  store: Store,
  registry: Registry,
  reference: Reference,
  platform: Platform | undefined,
): Promise<PullForecast> {
  const wanted = withDefaultTag(reference);
  const { target, manifest, manifestDigest, config } = await chooseImage(
    { store, registry, reference: wanted, isTrial: true },
    platform,
  );
  const { paths } = store;
  const layers = new Map<Digest, LayerForecast>();
  for (const [position, { digest, size }] of manifest.layers.entries()) {
    const isWhole = blobSize(paths, digest) === size;
    const partial = statSync(paths.partial(digest), { throwIfNoEntry: false })?.size ?? 0;
    const isUnpacked = layerName(paths, config.rootfs.diff_ids, position) !== undefined;
    layers.set(digest, { digest, size, present: isWhole ? size : Math.min(partial, size), isUnpacked });
  }
  const known = readIndex(paths).entries.find(({ name }) => name === entryName(wanted));
  const isNamed =
    known?.target.digest === target.digest &&
    (known.images === undefined || known.images.some((image) => image.manifest === manifestDigest));
  const isWhole = [...layers.values()].every(
    ({ size, present, isUnpacked }) => size === present && isUnpacked,
  );
  return {
    reference: wanted,
    digest: target.digest,
    status: isNamed && isWhole ? 'up-to-date' : known === undefined ? 'missing' : 'newer',
    layers: [...layers.values()],
  };
}
