import { createReadStream } from 'node:fs';
import { type Pack, pack } from 'tar-stream';
import { type Digest, hexOf } from '../oci/digest.ts';
import type { Descriptor } from '../oci/image-spec.ts';
import { familiarName, parseReference } from '../registry/reference.ts';
import { tagOf } from './index-file.ts';
import { type PushPlan, planPush } from './push-plan.ts';
import type { Store } from './store.ts';
import type { StoredImage } from './stored-image.ts';

/** An image to be saved, and the names that go with it. */
export interface SavedImage {
  readonly image: StoredImage;
  /** Canonical, with a tag; empty where it was asked for by its id. */
  readonly names: readonly string[];
}

/** Bytes per read. */
const READ_SIZE = 256 << 10;
/** The time of every member: the same image gives the same archive. */
const EPOCH = new Date(0);

/**
 * A tar that is both an OCI layout and what `docker load` reads. Nothing is held in memory; every blob goes in once.
 * @param allPlatforms indexes with the images of them that are in the store, in place of one image's manifest
 * @throws TinyrunError `not_found` where a blob is missing, before the first byte
 */
export function save(
  store: Store,
  images: readonly SavedImage[],
  allPlatforms: boolean,
): AsyncIterable<Uint8Array> {
  const plans = images.map((one) => ({ ...one, plan: planPush(store.paths, one.image, allPlatforms) }));
  return archiveOf(store, plans);
}

interface Planned extends SavedImage {
  readonly plan: PushPlan;
}

async function* archiveOf(
  store: Store,
  images: readonly Planned[],
): AsyncGenerator<Uint8Array, void, undefined> {
  // Nobody may collect what is read here.
  const lease = await store.lease();
  const tar = pack();
  try {
    const written = writeAll(store, images, tar).catch((error: Error) => tar.destroy(error));
    for await (const chunk of tar) yield chunk as Uint8Array;
    await written;
  } finally {
    tar.destroy();
    lease.release();
  }
}

async function writeAll(store: Store, images: readonly Planned[], tar: Pack): Promise<void> {
  const directory = (name: string): void =>
    void tar.entry({ name, type: 'directory', mode: 0o755, mtime: EPOCH });
  directory('blobs/');
  directory('blobs/sha256/');
  const done = new Set<Digest>();
  for (const { plan } of images) {
    for (const { digest, bytes } of [...plan.manifests, plan.top]) {
      if (!done.has(digest)) await writeSmall(tar, blobName(digest), bytes);
      done.add(digest);
    }
    for (const blob of [...plan.configs, ...plan.layers]) {
      if (!done.has(blob.digest)) await writeBlob(tar, store.paths.blob(blob.digest), blob);
      done.add(blob.digest);
    }
  }
  await writeSmall(tar, 'index.json', jsonBytes(layoutIndex(images)));
  await writeSmall(tar, 'manifest.json', jsonBytes(images.map(dockerEntry)));
  await writeSmall(tar, 'oci-layout', jsonBytes({ imageLayoutVersion: '1.0.0' }));
  tar.finalize();
}

function layoutIndex(images: readonly Planned[]): unknown {
  return {
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.index.v1+json',
    manifests: images.flatMap(({ names, plan: { top } }) => {
      const descriptor = { mediaType: top.mediaType, digest: top.digest, size: top.bytes.byteLength };
      if (names.length === 0) return [descriptor];
      return names.map((name) => ({
        ...descriptor,
        annotations: {
          'io.containerd.image.name': name,
          'org.opencontainers.image.ref.name': tagOf(name) ?? name,
        },
      }));
    }),
  };
}

function dockerEntry({ image, names }: Planned): unknown {
  const { config, layers } = image.manifest;
  return {
    Config: blobName(config.digest),
    RepoTags: names.length === 0 ? null : names.map((name) => familiarName(parseReference(name))),
    Layers: layers.map(({ digest }) => blobName(digest)),
  };
}

function blobName(digest: Digest): string {
  return `blobs/sha256/${hexOf(digest)}`;
}

function jsonBytes(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}

function writeSmall(tar: Pack, name: string, bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    tar.entry({ name, mode: 0o644, mtime: EPOCH }, Buffer.from(bytes), (error) => {
      if (error) reject(error);
      else resolve();
    });
  });
}

function writeBlob(tar: Pack, path: string, { digest, size }: Descriptor): Promise<void> {
  return new Promise((resolve, reject) => {
    const entry = tar.entry({ name: blobName(digest), size, mode: 0o644, mtime: EPOCH }, (error) => {
      if (error) reject(error);
      else resolve();
    });
    const file = createReadStream(path, { highWaterMark: READ_SIZE });
    file.once('error', reject);
    file.pipe(entry);
  });
}
