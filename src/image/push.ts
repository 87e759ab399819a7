import { createReadStream } from 'node:fs';
import type { Paths } from '../disk/paths.ts';
import { type Digest, shortId } from '../oci/digest.ts';
import type { Descriptor } from '../oci/image-spec.ts';
import type { Pusher } from '../registry/push-client.ts';
import type { Reference } from '../registry/reference.ts';
import type { UploadSource } from '../registry/upload.ts';
import type { PushPlan } from './push-plan.ts';
import { Slots } from './slots.ts';

/** As Docker names them. */
export type PushStatus =
  | 'Preparing'
  | 'Waiting'
  | 'Pushing'
  | 'Pushed'
  | 'Layer already exists'
  | 'Mounted from';

export type PushEvent =
  | { readonly type: 'start'; readonly reference: Reference }
  | {
      readonly type: 'layer';
      /** 12 hex digits of the blob's digest. */
      readonly id: string;
      readonly status: PushStatus;
      /** With `Mounted from`: the repository. */
      readonly from?: string;
      /** Bytes, with `Pushing`. */
      readonly current?: number;
      readonly total?: number;
    }
  /** An index of which not all images are in the store. */
  | { readonly type: 'partial'; readonly present: number; readonly total: number }
  | { readonly type: 'end'; readonly reference: Reference; readonly digest: Digest; readonly size: number };

export interface PushWork {
  /** Where the bytes of a blob are. */
  readonly blobs: (blob: Descriptor) => UploadSource;
  /** Repositories of the same registry that have a blob. */
  readonly mounts: ReadonlyMap<Digest, readonly string[]>;
  readonly pusher: Pusher;
  readonly reference: Reference;
  readonly plan: PushPlan;
  readonly onEvent: (event: PushEvent) => void;
  /** Blobs at a time; default 5, as Docker. */
  readonly jobs?: number;
}

const JOBS = 5;
/** Other repositories that are asked for a blob before it is sent. */
const MOST_MOUNTS = 3;
/** Bytes per read of a blob. */
const READ_SIZE = 256 << 10;

/**
 * Sends an image: every blob that the registry does not have, then the manifests, the one that the tag names last, so that
 * nobody can pull half an image.
 * @throws RegistryError; TinyrunError `unauthorized` in Docker's words
 */
export async function push(work: PushWork): Promise<void> {
  const { pusher, reference, plan, onEvent, jobs = JOBS } = work;
  const { layers, configs, manifests, top } = plan;
  for (const layer of layers) onEvent({ type: 'layer', id: shortId(layer.digest), status: 'Preparing' });
  for (const layer of layers.slice(jobs))
    onEvent({ type: 'layer', id: shortId(layer.digest), status: 'Waiting' });
  const slots = new Slots(jobs);
  let failure: { readonly error: unknown } | undefined;
  const send = async (blob: Descriptor, isShown: boolean): Promise<void> => {
    const slot = await slots.take();
    try {
      // What was not begun when another blob failed is left.
      if (failure === undefined)
        await pushBlob(work, blob, { sources: work.mounts.get(blob.digest) ?? [], isShown });
    } catch (error) {
      failure ??= { error };
    } finally {
      slot.release();
    }
  };
  await Promise.all([
    ...layers.map((layer) => send(layer, true)),
    ...configs.map((config) => send(config, false)),
  ]);
  if (failure !== undefined) throw (failure as { readonly error: unknown }).error;
  for (const { digest, mediaType, bytes } of manifests) await pusher.putManifest(digest, mediaType, bytes);
  await pusher.putManifest(reference.tag ?? top.digest, top.mediaType, top.bytes);
  onEvent({ type: 'end', reference, digest: top.digest, size: top.bytes.byteLength });
}

/** The blobs of a store. */
export function storedBlobs(paths: Paths): PushWork['blobs'] {
  return ({ digest }) =>
    (first, last) =>
      createReadStream(paths.blob(digest), { start: first, end: last, highWaterMark: READ_SIZE });
}

async function pushBlob(
  { blobs, pusher, onEvent }: PushWork,
  blob: Descriptor,
  how: { readonly sources: readonly string[]; readonly isShown: boolean },
): Promise<void> {
  const { digest, size } = blob;
  const tell = (status: PushStatus, more: { from?: string; current?: number; total?: number } = {}): void => {
    if (how.isShown) onEvent({ type: 'layer', id: shortId(digest), status, ...more });
  };
  if (await pusher.hasBlob(digest)) return tell('Layer already exists');
  for (const from of how.sources.slice(0, MOST_MOUNTS)) {
    if (await pusher.mount(digest, from)) return tell('Mounted from', { from });
  }
  tell('Pushing', { current: 0, total: size });
  await pusher.upload(blob, blobs(blob), (current) => tell('Pushing', { current, total: size }));
  tell('Pushed');
}
