import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import type { Paths } from '../disk/paths.ts';
import { TinyrunError } from '../errors.ts';
import { type Digest, shortId } from '../oci/digest.ts';
import type { Descriptor } from '../oci/image-spec.ts';
import type { Reference } from '../registry/reference.ts';
import type { Registry } from '../registry/registry.ts';
import { chainIds } from './blobs.ts';
import { type BlobDownload, downloadBlob } from './download.ts';
import { GrowingFile } from './growing-file.ts';
import { beginLayer } from './half-layer.ts';
import { type HeldBlob, holdBlob } from './ingest.ts';
import { layerName, lowerDirectories } from './layers.ts';
import type { LayerStatus } from './pull-events.ts';
import type { Slot, Slots } from './slots.ts';
import { isUnpackError, type UnpackInput, type UnpackLayer, type UnpackReport } from './unpack.ts';

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
 * Brings one layer into the store, its blob and its directory, each only where it is missing. The blob goes to its file
 * at the speed of the network; an unpacker follows it there as soon as one is free.
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
      const means: Means = { held, slot, lower, isDistrusted: false };
      try {
        return await bring(work, task, means);
      } catch (error) {
        if (isUseless(error, means)) held.discard();
        if (attempt === 2 || !isWrongDigest(error)) throw error;
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
  /** An answer turned out to be wrong after some of it was put into the file. */
  isDistrusted: boolean;
}

async function bring(work: LayerWork, task: LayerTask, means: Means): Promise<void> {
  const { held } = means;
  const { digest, size } = task.descriptor;
  const isUnpacked = layerName(work.paths, task.diffIds, task.position) !== undefined;
  if (held.complete && held.size() !== size) await explainSize(work, task.descriptor, held.size());
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

/** At once, where one is free, so that it follows the download; or when the blob is in its file. */
async function placeToUnpack(work: LayerWork, task: LayerTask, means: Means): Promise<Slot> {
  if (means.held.size() < task.descriptor.size) {
    const place = work.unpacks.tryTake();
    if (place !== undefined) return place;
    await fill(work, task, means);
  }
  means.slot.release();
  return await work.unpacks.take();
}

interface FillOptions {
  readonly onProgress?: (furthest: number) => void;
  readonly signal?: AbortSignal;
}

async function fill(
  work: LayerWork,
  task: LayerTask,
  means: Means,
  options: FillOptions = {},
): Promise<void> {
  const { held, slot } = means;
  const { registry, reference, onStatus } = work;
  const { descriptor } = task;
  const from = held.size();
  const total = descriptor.size;
  onStatus(descriptor, { status: 'Downloading', current: from, total });
  const download: BlobDownload = {
    registry,
    reference,
    descriptor,
    from,
    signal: options.signal ?? work.signal,
    onProgress: (current) => {
      options.onProgress?.(current);
      onStatus(descriptor, { status: 'Downloading', current, total });
    },
    onRetry: (milliseconds) =>
      onStatus(descriptor, { status: 'Retrying', retrySeconds: Math.ceil(milliseconds / 1000) }),
    onDistrust: () => {
      means.isDistrusted = true;
    },
  };
  await downloadBlob(download, held.fd);
  slot.release();
  onStatus(descriptor, { status: 'Download complete' });
}

async function unpack(work: LayerWork, task: LayerTask, means: Means): Promise<void> {
  const { descriptor, diffIds, position } = task;
  const diffId = diffIds[position];
  if (diffId === undefined) throw new Error('layer without a diffID');
  work.signal.throwIfAborted();
  const { lower } = means;
  const half = beginLayer(work.paths);
  try {
    const common = {
      unpacker: work.unpackerPath,
      layerDir: half.fs,
      descriptor,
      diffId,
      signal: work.signal,
      ...(lower === undefined ? {} : { lower }),
    };
    const report =
      means.held.size() < descriptor.size
        ? await unpackWhileFilling(work, task, means, common)
        : await unpackWhole(work, means, common);
    const chain = lower === undefined ? undefined : chainIds(diffIds.slice(0, position + 1)).at(-1);
    half.finish(chain ?? diffId, { diffId, ...report });
    work.made.layers.add(chain ?? diffId);
  } finally {
    half.dispose();
  }
}

type CommonInput = Omit<UnpackInput, 'blobFd' | 'have' | 'body'>;

async function unpackWhole(work: LayerWork, { held }: Means, input: CommonInput): Promise<UnpackReport> {
  work.onStatus(input.descriptor, { status: 'Extracting' });
  return await work.unpack({ ...input, blobFd: held.fd, have: input.descriptor.size });
}

/** The download goes to the file and the unpacker follows it there. Where the layer needs lower ones, it still ends. */
async function unpackWhileFilling(
  work: LayerWork,
  task: LayerTask,
  means: Means,
  input: CommonInput,
): Promise<UnpackReport> {
  const { held } = means;
  const file = new GrowingFile(held.size(), input.descriptor.size);
  const stop = new AbortController();
  const filling = fill(work, task, means, {
    onProgress: (furthest) => file.reached(furthest),
    signal: AbortSignal.any([work.signal, stop.signal]),
  })
    .then(() => work.onStatus(input.descriptor, { status: 'Extracting' }))
    .catch((error: unknown) => file.fail(error));
  try {
    return await work.unpack({ ...input, blobFd: held.fd, have: 0, arrived: file });
  } catch (error) {
    if (!isUnpackError(error, 'needs-lower')) stop.abort(error);
    throw error;
  } finally {
    await filling;
  }
}

/** A finished blob of another size than the manifest says: one of the two is wrong, and only a wrong blob may go. */
async function explainSize({ paths }: LayerWork, descriptor: Descriptor, found: number): Promise<never> {
  await verifyFile(paths.blob(descriptor.digest), descriptor);
  throw new TinyrunError(
    'invalid',
    `Cannot use layer "${shortId(descriptor.digest)}": it has ${found} bytes, but the manifest says ${descriptor.size}`,
  );
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

/**
 * True where no later pull can use the file: what came is not the blob, or the blob is bad however often it is fetched.
 * A finished one goes only for its digest: it may be another image's, and this image's diffID the lie.
 */
function isUseless(error: unknown, { held, lower, isDistrusted }: Means): boolean {
  if (isWrongDigest(error)) return true;
  if (held.complete) return false;
  if (isDistrusted) return true;
  if (isUnpackError(error, 'needs-lower')) return lower !== undefined;
  return isUnpackError(error) && error.kind === 'invalid';
}

function isWrongDigest(error: unknown): boolean {
  return error instanceof WrongDigest || isUnpackError(error, 'digest');
}
