import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import type { Paths } from '../disk/paths.ts';
import { TinyrunError } from '../errors.ts';
import { type Digest, shortId } from '../oci/digest.ts';
import type { Descriptor } from '../oci/image-spec.ts';
import type { Reference } from '../registry/reference.ts';
import type { Registry } from '../registry/registry.ts';
import { chainIds } from './blobs.ts';
import { ByteChannel, ReaderGone } from './byte-channel.ts';
import { type BlobDownload, downloadBlob, downloadToFile } from './download.ts';
import { beginLayer } from './half-layer.ts';
import { type HeldBlob, holdBlob } from './ingest.ts';
import { layerName, lowerDirectories } from './layers.ts';
import type { LayerStatus } from './pull-events.ts';
import type { Slot, Slots } from './slots.ts';
import { isUnpackError, type UnpackLayer } from './unpack.ts';

/** What the layers of one pull share. */
export interface LayerWork {
  readonly paths: Paths;
  readonly registry: Registry;
  readonly reference: Reference;
  readonly unpack: UnpackLayer;
  readonly unpackerPath: string;
  readonly signal: AbortSignal;
  readonly downloads: Slots;
  readonly unpacks: Slots;
  readonly onStatus: (descriptor: Descriptor, status: LayerStatus) => void;
  /** What this pull put into the store itself: given back where the disk gets full. */
  readonly made: { readonly blobs: Set<Digest>; readonly layers: Set<Digest> };
}

export interface LayerTask {
  readonly descriptor: Descriptor;
  /** Of all layers of the image, from the bottom. */
  readonly diffIds: readonly Digest[];
  /** Which of them this is. */
  readonly position: number;
  /** Settles when the layers below are in the store. */
  readonly below: () => Promise<unknown>;
}

/**
 * Brings one layer into the store, its blob and its directory, each only where it is missing. Where an unpacker is free
 * the network streams into it; else the blob goes to its file first, so that the network never waits for the disk.
 *
 * A layer with a hard link into a lower layer is unpacked again when the lower ones are there, from its file.
 * @throws TinyrunError; what was downloaded stays for the next pull
 */
export async function pullLayer(work: LayerWork, task: LayerTask): Promise<void> {
  try {
    await fetchTwice(work, task, undefined);
  } catch (error) {
    if (!isUnpackError(error, 'needs-lower') || task.position === 0) throw error;
    await task.below();
    await fetchTwice(work, task, lowerDirectories(work.paths, task.diffIds.slice(0, task.position)));
  }
  work.onStatus(task.descriptor, { status: 'Pull complete' });
}

/** A blob with the wrong digest is fetched once more, from its first byte. */
async function fetchTwice(
  work: LayerWork,
  task: LayerTask,
  lower: readonly string[] | undefined,
): Promise<void> {
  const { paths, signal } = work;
  const { digest, size } = task.descriptor;
  for (let attempt = 1; ; attempt += 1) {
    const slot = await work.downloads.take();
    try {
      const held = await holdBlob(paths, digest, { size, signal });
      try {
        return await bring(work, task, { held, slot, lower });
      } catch (error) {
        if (!isWrongDigest(error)) throw error;
        held.discard();
        if (attempt === 2) throw error;
        work.onStatus(task.descriptor, { status: 'Retrying', retrySeconds: 0 });
      } finally {
        held.release();
      }
    } finally {
      slot.release();
    }
  }
}

interface Means {
  readonly held: HeldBlob;
  /** The place among the downloads: given up as soon as nothing is left to download. */
  readonly slot: Slot;
  readonly lower: readonly string[] | undefined;
}

async function bring(work: LayerWork, task: LayerTask, means: Means): Promise<void> {
  const { held } = means;
  const { digest, size } = task.descriptor;
  const isUnpacked = layerName(work.paths, task.diffIds, task.position) !== undefined;
  if (isUnpacked) {
    if (held.complete) return;
    if (held.size() < size) await fill(work, task, means);
    await verifyFile(work.paths.partial(digest), task.descriptor);
  } else {
    const place = await placeToUnpack(work, task, means);
    try {
      await unpack(work, task, means);
    } finally {
      place.release();
    }
  }
  if (held.complete) return;
  held.commit();
  work.made.blobs.add(digest);
}

/** At once, so that the network streams into the unpacker; or when the blob is in its file. */
async function placeToUnpack(work: LayerWork, task: LayerTask, means: Means): Promise<Slot> {
  if (means.held.size() < task.descriptor.size) {
    const place = work.unpacks.tryTake();
    if (place !== undefined) return place;
    await fill(work, task, means);
  }
  means.slot.release();
  return await work.unpacks.take();
}

async function fill(work: LayerWork, task: LayerTask, { held, slot }: Means): Promise<void> {
  await downloadToFile(downloadOf(work, task, held, slot), held.fd);
}

async function unpack(work: LayerWork, task: LayerTask, means: Means): Promise<void> {
  const { held, slot, lower } = means;
  const { descriptor, diffIds, position } = task;
  const diffId = diffIds[position];
  if (diffId === undefined) throw new Error('layer without a diffID');
  work.signal.throwIfAborted();
  const half = beginLayer(work.paths);
  const have = held.size();
  const channel = have < descriptor.size ? new ByteChannel() : undefined;
  const stop = new AbortController();
  const signal = AbortSignal.any([work.signal, stop.signal]);
  const pump =
    channel === undefined ? undefined : pumpInto(channel, { ...downloadOf(work, task, held, slot), signal });
  if (pump === undefined) work.onStatus(descriptor, { status: 'Extracting' });
  try {
    const report = await work.unpack({
      unpacker: work.unpackerPath,
      layerDir: half.fs,
      blobFd: held.fd,
      have,
      descriptor,
      diffId,
      signal: work.signal,
      ...(channel === undefined ? {} : { body: channel }),
      ...(lower === undefined ? {} : { lower }),
    });
    const name = lower === undefined ? diffId : (chainIds(diffIds.slice(0, position + 1)).at(-1) ?? diffId);
    half.finish(name, { diffId, ...report });
    work.made.layers.add(name);
  } finally {
    stop.abort(new ReaderGone());
    await pump;
    half.dispose();
  }
}

/** Never rejects: the reader of the channel gets the error, and with it the unpacker's caller. */
async function pumpInto(channel: ByteChannel, download: BlobDownload): Promise<void> {
  try {
    await downloadBlob(download, (chunk) => channel.put(chunk));
    channel.end();
  } catch (error) {
    if (!(error instanceof ReaderGone)) channel.fail(error);
  }
}

function downloadOf(work: LayerWork, task: LayerTask, held: HeldBlob, slot: Slot): BlobDownload {
  const { registry, reference, signal, onStatus } = work;
  const { descriptor } = task;
  const total = descriptor.size;
  onStatus(descriptor, { status: 'Downloading', current: held.size(), total });
  return {
    registry,
    reference,
    descriptor,
    from: held.size(),
    signal,
    onProgress: (current) => {
      onStatus(descriptor, { status: 'Downloading', current, total });
      if (current < total) return;
      slot.release();
      onStatus(descriptor, { status: 'Download complete' });
    },
    onRetry: (milliseconds) =>
      onStatus(descriptor, { status: 'Retrying', retrySeconds: Math.ceil(milliseconds / 1000) }),
  };
}

/** The digest of a blob whose layer is unpacked already: only the unpacker would have computed it. */
async function verifyFile(path: string, descriptor: Descriptor): Promise<void> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hash.update(chunk);
  const found = `sha256:${hash.digest('hex')}`;
  if (found === descriptor.digest) return;
  throw new WrongDigest(
    `Cannot use layer "${shortId(descriptor.digest)}": its digest is "${found}", expected "${descriptor.digest}"`,
  );
}

class WrongDigest extends TinyrunError {
  override readonly name = 'WrongDigest';

  constructor(message: string) {
    super('invalid', message);
  }
}

function isWrongDigest(error: unknown): boolean {
  return error instanceof WrongDigest || isUnpackError(error, 'digest');
}
