import type { Paths } from '../disk/paths.ts';
import { digestOf, writeDocument } from '../image/blobs.ts';
import type { Digest } from '../oci/digest.ts';
import { type Descriptor, type Index, type Manifest, MEDIA_TYPE } from '../oci/image-spec.ts';
import { type Draft, finalConfig, type Stamps } from './image-config.ts';

/** An image of one platform that is in the store, unnamed so far. */
export interface WrittenImage {
  readonly id: Digest;
  readonly manifest: Descriptor;
}

/** Writes config and manifest of a finished draft; its layers are there. The caller holds the store's lease. */
export function writeImage(paths: Paths, draft: Draft, stamps: Stamps): WrittenImage {
  const config = Buffer.from(JSON.stringify(finalConfig(draft, stamps)));
  const id = digestOf(config);
  writeDocument(paths, id, config);
  const manifest: Manifest & { readonly schemaVersion: 2 } = {
    schemaVersion: 2,
    mediaType: MEDIA_TYPE.ociManifest,
    config: { mediaType: MEDIA_TYPE.ociConfig, digest: id, size: config.length },
    layers: draft.layers.map(({ descriptor: { mediaType, digest, size } }) => ({ mediaType, digest, size })),
  };
  const descriptor = writeJsonBlob(paths, manifest, MEDIA_TYPE.ociManifest);
  const { os, architecture, variant } = draft.platform;
  const platform = { architecture, os, ...(variant === undefined ? {} : { variant }) };
  return { id, manifest: { ...descriptor, platform } };
}

/** The index of the platforms of one build. */
export function writeIndex(paths: Paths, images: readonly WrittenImage[]): Descriptor {
  const index: Index & { readonly schemaVersion: 2 } = {
    schemaVersion: 2,
    mediaType: MEDIA_TYPE.ociIndex,
    manifests: images.map(({ manifest }) => manifest),
  };
  return writeJsonBlob(paths, index, MEDIA_TYPE.ociIndex);
}

function writeJsonBlob(paths: Paths, value: unknown, mediaType: string): Descriptor {
  const bytes = Buffer.from(JSON.stringify(value));
  const digest = digestOf(bytes);
  writeDocument(paths, digest, bytes);
  return { mediaType, digest, size: bytes.length };
}
