import { closeSync, constants, existsSync, fdatasyncSync, openSync, readSync, renameSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { makePrivateDirectory } from '../disk/atomic.ts';
import type { Paths } from '../disk/paths.ts';
import { TinyrunError } from '../errors.ts';
import { type Digest, parseDigest } from '../oci/digest.ts';
import { MEDIA_TYPE } from '../oci/image-spec.ts';
import { blobSize } from './blobs.ts';
import { sniff } from './decompress.ts';
import { beginLayer } from './half-layer.ts';
import { packLayer } from './pack.ts';
import { feed, reportFields, runReporting } from './report-process.ts';
import type { StoredLayer } from './store-layer.ts';

export interface ImportLayerInput {
  /** The programs tinyrun-unpack and tinyrun-pack. */
  readonly unpacker: string;
  readonly packer: string;
  /** A tar, plain or compressed with gzip or zstd. */
  readonly archive: AsyncIterable<Uint8Array>;
  readonly signal?: AbortSignal;
}

/**
 * Puts a tar of unknown digest into the store as a layer, in one pass. Compressed it is kept as it came; a plain one is
 * packed anew, so that it does not lie in the store, and go to registries, uncompressed.
 *
 * The caller holds the store's lease, as for storeLayer(). Half of it is never seen.
 * @throws TinyrunError `invalid` for what is no tar; `unsupported` for other compressions; whatever `archive` throws
 */
export async function importLayer(paths: Paths, input: ImportLayerInput): Promise<StoredLayer> {
  const half = beginLayer(paths);
  const top = dirname(half.fs);
  const [raw, packed] = [openNew(join(top, 'raw')), openNew(join(top, 'packed'))];
  try {
    const tar = await unpack(half.fs, raw, input);
    const format = formatOf(raw);
    const { diffId, digest, size, bytes, files } =
      format === undefined ? await packLayer(packing(half.fs, packed, input)) : tar;
    fdatasyncSync(format === undefined ? packed : raw);
    makePrivateDirectory(paths.blobs);
    if (blobSize(paths, digest) !== size) {
      renameSync(join(top, format === undefined ? 'packed' : 'raw'), paths.blob(digest));
    }
    if (!existsSync(paths.layerFs(diffId))) {
      half.finish(diffId, { diffId, bytes, files, opaqueRoot: tar.opaqueRoot });
    }
    const mediaType = format === 'zstd' ? MEDIA_TYPE.ociLayerZstd : MEDIA_TYPE.ociLayerGzip;
    return { diffId, descriptor: { mediaType, digest, size }, bytes, files };
  } finally {
    closeSync(raw);
    closeSync(packed);
    half.dispose();
  }
}

function openNew(path: string): number {
  return openSync(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600);
}

interface Unpacked {
  readonly diffId: Digest;
  readonly digest: Digest;
  readonly size: number;
  readonly bytes: number;
  readonly files: number;
  readonly opaqueRoot: boolean;
}

async function unpack(fs: string, blobFd: number, input: ImportLayerInput): Promise<Unpacked> {
  const { unpacker, archive, signal } = input;
  let feeding: Promise<void> | undefined;
  const { text, status } = await runReporting({
    program: unpacker,
    args: ['--layer', fs, '--blob', '3'],
    input: 'pipe',
    fds: [blobFd],
    onStart: ({ stdin }) => {
      if (stdin === null) return;
      feeding = feed(stdin, archive);
      // Awaited below, when the program has ended.
      feeding.catch(() => {});
    },
    ...(signal === undefined ? {} : { signal }),
  });
  // What the archive's source did goes before what came of it.
  await feeding;
  const { ok, message, kind, size, bytes, files, opaqueRoot, digest, diffId } = reportFields(text);
  if (ok !== true) throw importError(String(message ?? `the unpacker ${status}`), kind, formatOf(blobFd));
  return {
    diffId: parseDigest(`sha256:${String(diffId)}`),
    digest: parseDigest(`sha256:${String(digest)}`),
    size: Number(size),
    bytes: Number(bytes),
    files: Number(files),
    opaqueRoot: opaqueRoot === true,
  };
}

function importError(message: string, kind: unknown, format: ReturnType<typeof sniff>): TinyrunError {
  if (format === 'xz' || format === 'bzip2') {
    return new TinyrunError('unsupported', `Cannot import the archive: ${format} is not supported`, {
      hint: `Unpack it on the way: ${format} -dc FILE | tinyrun import -`,
    });
  }
  const of = kind === 'space' ? 'unavailable' : kind === 'io' ? 'internal' : 'invalid';
  return new TinyrunError(of, `Cannot import the archive: ${message}`);
}

/** Times are kept as the directory has them: nobody unpacks this blob here. */
function packing(
  upper: string,
  blobFd: number,
  { packer, signal }: ImportLayerInput,
): Parameters<typeof packLayer>[0] {
  return {
    packer,
    upper,
    blobFd,
    compression: 'gzip',
    subsecond: true,
    ...(signal === undefined ? {} : { signal }),
  };
}

function formatOf(fd: number): ReturnType<typeof sniff> {
  const start = Buffer.alloc(8);
  const length = readSync(fd, start, 0, start.length, 0);
  return sniff(start.subarray(0, length));
}
