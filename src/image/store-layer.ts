import { closeSync, constants, existsSync, fdatasyncSync, openSync, renameSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { makePrivateDirectory } from '../disk/atomic.ts';
import type { Paths } from '../disk/paths.ts';
import { closeFd, openRoot } from '../native/syscalls.ts';
import type { Digest } from '../oci/digest.ts';
import { type Descriptor, MEDIA_TYPE } from '../oci/image-spec.ts';
import { blobSize } from './blobs.ts';
import { beginLayer, type HalfLayer } from './half-layer.ts';
import { type LayerCompression, type PackInput, type PackReport, packLayer } from './pack.ts';
import { unpackLayer } from './unpack.ts';

export interface StoreLayerInput
  extends Pick<PackInput, 'packer' | 'upper' | 'level' | 'clampMtime' | 'exclude' | 'signal'> {
  /** The program tinyrun-unpack. */
  readonly unpacker: string;
  /** The directories of the layers below, top first: see `below` of packLayer(). */
  readonly lower?: readonly string[];
  /** Default `gzip`, which every registry and engine takes. */
  readonly compression?: LayerCompression;
}

/** A layer of the store that a new image may name. */
export interface StoredLayer {
  readonly diffId: Digest;
  /** For the manifest. */
  readonly descriptor: Descriptor;
  /** Entries and bytes of its tar. */
  readonly files: number;
  readonly bytes: number;
}

const MEDIA_TYPES: Readonly<Record<LayerCompression, string>> = {
  gzip: MEDIA_TYPE.ociLayerGzip,
  zstd: MEDIA_TYPE.ociLayerZstd,
  none: MEDIA_TYPE.ociLayer,
};

/**
 * Makes a layer of what was written to an overlay's upper directory, and puts it into the store: the blob to `blobs/`, its
 * files to `layers/<diffID>/fs`. For `commit` and for a build's steps.
 *
 * - The caller holds the store's lease (`store.lease()`) from before this call until an entry of the index or a container
 *   names the image: nothing refers to the layer until then, and the collector would take it.
 * - `upper` is only read, and stays: the caller removes it. Nothing should write to it meanwhile (pause the container);
 *   where something does, the layer is whole all the same, with this or that state of a file.
 * - The files are unpacked from the blob and not moved: so a layer is the same here as where it is pulled, to the
 *   second of a time, and places to mount on that `exclude` names are not in it.
 * - Half of it is never seen: blob and files are made in one locked directory `layers/tmp-*`, which the next repair removes
 *   where this command is killed. Where the store has the layer already, that one is used.
 *
 * `exclude` should name the mounts' destinations in the container (`spec.mounts`), since the engine makes what is missing
 * of them in the upper directory.
 * @returns undefined where nothing was changed: the store is as it was
 * @throws TinyrunError `unavailable` where the disk is full, `invalid` for files that no layer can express
 */
export async function storeLayer(paths: Paths, input: StoreLayerInput): Promise<StoredLayer | undefined> {
  const { unpacker, compression = 'gzip', signal } = input;
  const half = beginLayer(paths);
  try {
    const path = join(dirname(half.fs), 'blob');
    const blobFd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600);
    try {
      const report = await packAbove(input, { compression, blobFd });
      if (report.empty) return undefined;
      const { digest, size, diffId, files, bytes } = report;
      const descriptor = { mediaType: MEDIA_TYPES[compression], digest, size };
      // Nobody can be asked for these bytes again: they are on the medium before anything names them.
      fdatasyncSync(blobFd);
      const opaqueRoot = await unpackOnce(paths, half, { unpacker, blobFd, report, descriptor, signal });
      keepBlob(paths, path, descriptor);
      if (opaqueRoot !== undefined) half.finish(diffId, { diffId, files, bytes, opaqueRoot });
      return { diffId, descriptor, files, bytes };
    } finally {
      closeSync(blobFd);
    }
  } finally {
    half.dispose();
  }
}

async function packAbove(
  { lower, ...input }: StoreLayerInput,
  how: Pick<PackInput, 'compression' | 'blobFd'>,
): Promise<PackReport> {
  if (lower === undefined) return await packLayer({ ...input, ...how });
  const below = openRoot(lower);
  try {
    return await packLayer({ ...input, ...how, below });
  } finally {
    closeFd(below);
  }
}

interface Packed {
  readonly unpacker: string;
  readonly blobFd: number;
  readonly report: PackReport;
  readonly descriptor: Descriptor;
  readonly signal: AbortSignal | undefined;
}

/** @returns whether its root is opaque; undefined where the layer is unpacked already */
async function unpackOnce(paths: Paths, half: HalfLayer, packed: Packed): Promise<boolean | undefined> {
  const { unpacker, blobFd, report, descriptor, signal } = packed;
  if (existsSync(paths.layerFs(report.diffId))) return undefined;
  const { opaqueRoot } = await unpackLayer({
    unpacker,
    layerDir: half.fs,
    blobFd,
    have: report.size,
    descriptor,
    diffId: report.diffId,
    ...(signal === undefined ? {} : { signal }),
  });
  return opaqueRoot;
}

function keepBlob(paths: Paths, path: string, { digest, size }: Descriptor): void {
  makePrivateDirectory(paths.blobs);
  if (blobSize(paths, digest) !== size) renameSync(path, paths.blob(digest));
}
