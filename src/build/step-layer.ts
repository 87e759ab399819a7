import { closeSync, constants, existsSync, fdatasync, openSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { makePrivateDirectory } from '../disk/atomic.ts';
import type { Paths } from '../disk/paths.ts';
import { blobSize, writeDocument } from '../image/blobs.ts';
import type { BuiltLayer } from '../image/cached-steps.ts';
import { beginLayer, type HalfLayer } from '../image/half-layer.ts';
import { type LayerCompression, type PackReport, packLayer } from '../image/pack.ts';
import { unpackLayer } from '../image/unpack.ts';
import { packProgram, unpackProgram } from '../native/library.ts';
import { removeTree } from '../native/syscalls.ts';
import { parseDigest } from '../oci/digest.ts';
import { type Descriptor, MEDIA_TYPE } from '../oci/image-spec.ts';

export interface LayerHow {
  readonly compression: LayerCompression;
  /** 1 to 12 for gzip, 1 to 19 for zstd. */
  readonly level?: number;
  /** Seconds since 1970: no time in the layer is later. */
  readonly epoch?: number;
  /** When it was made, RFC 3339. */
  readonly now: () => string;
  readonly signal?: AbortSignal;
}

/** A layer in the store, and the moment from which on a power cut cannot take its blob. */
export interface MadeLayer {
  readonly layer: BuiltLayer;
  /** Bytes of its tar. */
  readonly bytes: number;
  /** Never rejects before it is awaited. */
  readonly durable: Promise<void>;
}

const MEDIA_TYPES: Readonly<Record<LayerCompression, string>> = {
  gzip: MEDIA_TYPE.ociLayerGzip,
  zstd: MEDIA_TYPE.ociLayerZstd,
  none: MEDIA_TYPE.ociLayer,
};

/**
 * A step's layer: `fill` writes its files as an overlay's upper directory, which is packed and becomes the layer's directory as it is.
 * `scratch`, which it may make, is on the same file system and goes with the step. Nobody sees it before it is whole; where this command is killed, the next repair removes it. The caller holds the
 * store's lease.
 */
export async function makeLayer(
  paths: Paths,
  how: LayerHow,
  fill: (upper: string, scratch: string) => Promise<void>,
): Promise<MadeLayer> {
  const half = beginLayer(paths);
  try {
    const scratch = join(dirname(half.fs), 'scratch');
    await fill(half.fs, scratch);
    if (existsSync(scratch)) removeTree(scratch);
    const path = join(dirname(half.fs), 'blob');
    const blobFd = openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600);
    try {
      const report = await packLayer({
        packer: packProgram(),
        upper: half.fs,
        blobFd,
        compression: how.compression,
        ...(how.level === undefined && how.compression !== 'gzip' ? {} : { level: how.level ?? 1 }),
        ...(how.epoch === undefined ? {} : { clampMtime: how.epoch }),
        ...(how.signal === undefined ? {} : { signal: how.signal }),
      });
      if (report.empty) return emptyLayer(paths, how);
      return await keep(paths, { half, path, blobFd, report, how });
    } finally {
      closeSync(blobFd);
    }
  } finally {
    half.dispose();
  }
}

interface Packed {
  readonly half: HalfLayer;
  readonly path: string;
  readonly blobFd: number;
  readonly report: PackReport;
  readonly how: LayerHow;
}

async function keep(paths: Paths, packed: Packed): Promise<MadeLayer> {
  const { half, path, report, how } = packed;
  const { digest, size, diffId, files, bytes } = report;
  const descriptor: Descriptor = { mediaType: MEDIA_TYPES[how.compression], digest, size };
  const record = { diffId, files, bytes, opaqueRoot: false };
  if (!existsSync(paths.layerFs(diffId))) {
    // Times that were cut are cut in the blob only: the files are made from it, to be the same everywhere.
    if (how.epoch !== undefined) await unpackAnew(paths, packed, descriptor);
  }
  makePrivateDirectory(paths.blobs);
  if (blobSize(paths, digest) === size) rmSync(path);
  else renameSync(path, paths.blob(digest));
  if (!existsSync(paths.layerFs(diffId))) half.finish(diffId, record);
  const durable = sync(paths.blob(digest));
  return { layer: { diffId, descriptor, created: how.now() }, bytes, durable };
}

async function unpackAnew(paths: Paths, packed: Packed, descriptor: Descriptor): Promise<void> {
  const { blobFd, report, how } = packed;
  const { diffId, files, bytes, size } = report;
  const anew = beginLayer(paths);
  try {
    const { opaqueRoot } = await unpackLayer({
      unpacker: unpackProgram(),
      layerDir: anew.fs,
      blobFd,
      have: size,
      descriptor,
      diffId,
      ...(how.signal === undefined ? {} : { signal: how.signal }),
    });
    anew.finish(diffId, { diffId, files, bytes, opaqueRoot });
  } finally {
    anew.dispose();
  }
}

/** In the background: a build goes on meanwhile. */
function sync(path: string): Promise<void> {
  const fd = openSync(path, 'r');
  const done = new Promise<void>((resolve, reject) => {
    fdatasync(fd, (error) => {
      closeSync(fd);
      if (error === null) resolve();
      else reject(error);
    });
  });
  done.catch(() => {});
  return done;
}

/** The tar with nothing in it, compressed as Docker does: every builder has this very blob for a step that changed nothing. */
const EMPTY_BLOB = Buffer.from('1f8b08000000000000ff621805a360148c5800080000ffff2eafb5ef00040000', 'hex');
const EMPTY_DIGEST = parseDigest('sha256:4f4fb700ef54461cfa02571ae0db9a0dc1e0cdb5577484a6d75e68dc38e8acc1');
const EMPTY_DIFF_ID = parseDigest('sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef');

export function emptyLayer(paths: Paths, how: LayerHow): MadeLayer {
  writeDocument(paths, EMPTY_DIGEST, EMPTY_BLOB);
  if (!existsSync(paths.layerFs(EMPTY_DIFF_ID))) {
    const half = beginLayer(paths);
    try {
      half.finish(EMPTY_DIFF_ID, { diffId: EMPTY_DIFF_ID, files: 0, bytes: 1024, opaqueRoot: false });
    } finally {
      half.dispose();
    }
  }
  const descriptor = { mediaType: MEDIA_TYPE.ociLayerGzip, digest: EMPTY_DIGEST, size: EMPTY_BLOB.length };
  return {
    layer: { diffId: EMPTY_DIFF_ID, descriptor, created: how.now() },
    bytes: 1024,
    durable: Promise.resolve(),
  };
}
