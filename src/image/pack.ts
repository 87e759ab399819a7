import { type ErrorKind, TinyrunError } from '../errors.ts';
import { type Digest, parseDigest } from '../oci/digest.ts';
import { reportFields, runReporting } from './report-process.ts';

export type LayerCompression = 'gzip' | 'zstd' | 'none';

export interface PackInput {
  /** The program tinyrun-pack. */
  readonly packer: string;
  /** The upper directory of an overlay; what is written to it meanwhile may be in the layer or not. */
  readonly upper: string;
  /** Open for writing: the blob goes there, from where it stands. After a failure it holds any number of its bytes. */
  readonly blobFd: number;
  readonly compression: LayerCompression;
  /** 1 to 12 for gzip (default 6), 1 to 19 for zstd (default 3). */
  readonly level?: number;
  /** Seconds since 1970: no file is younger in the layer (SOURCE_DATE_EPOCH). */
  readonly clampMtime?: number;
  /** Times with their fractions; default: whole seconds, as Docker has them. */
  readonly subsecond?: boolean;
  /**
   * Paths that are not packed, with all below them, absolute as the container sees them: places that were only made to
   * mount something on. A directory in which nothing else is goes with them, unless it is another than `below` has.
   */
  readonly exclude?: readonly string[];
  /** An open directory: the files that the upper directory lay on. */
  readonly below?: number;
  /** Kills the packer. */
  readonly signal?: AbortSignal;
}

/** What there is to know of a packed layer. */
export interface PackReport {
  /** Of the tar. */
  readonly diffId: Digest;
  /** Of the blob. */
  readonly digest: Digest;
  /** Bytes of the blob. */
  readonly size: number;
  /** Bytes of the tar. */
  readonly bytes: number;
  /** Entries of the tar. */
  readonly files: number;
  /** Nothing was changed: the tar has no entries, or only one for the root itself. */
  readonly empty: boolean;
  /** Sockets, which no tar holds. */
  readonly skipped: number;
}

/**
 * Packs an upper directory as an OCI layer in a process of its own (native/pack): deletions become `.wh.` files, marks of
 * overlayfs stay behind, entries are sorted, so that the same tree gives the same bytes. Hashing and compression happen
 * in the same pass, on all processors.
 * @throws TinyrunError `unavailable` where the disk is full, `invalid` for a tree that no layer can express
 */
export async function packLayer(input: PackInput): Promise<PackReport> {
  const { upper, compression, level, clampMtime, exclude = [] } = input;
  const args = ['--tree', upper, '--layer', '1', '--compression', compression];
  if (level !== undefined) args.push('--level', String(level));
  if (clampMtime !== undefined) args.push('--clamp', String(clampMtime));
  if (input.subsecond === true) args.push('--subsecond', '1');
  for (const path of exclude) args.push('--exclude', path.replace(/^\/+|\/+$/g, ''));
  const { below } = input;
  if (below !== undefined) args.push('--below', '4');
  const fds = below === undefined ? [] : [below];
  return await runPacker({ ...input, args, fds, what: 'Cannot make a layer' });
}

export interface PackerRun {
  readonly packer: string;
  readonly args: readonly string[];
  /** Becomes `--blob`. */
  readonly blobFd: number;
  /** Open files besides, as descriptors 4 and so on. */
  readonly fds?: readonly number[];
  /** What errors begin with. */
  readonly what: string;
  readonly signal?: AbortSignal;
}

/** Runs tinyrun-pack. @throws TinyrunError; the signal's reason */
export async function runPacker(run: PackerRun): Promise<PackReport> {
  const { text, status } = await runReporting({
    program: run.packer,
    args: ['--blob', '3', ...run.args],
    fds: [run.blobFd, ...(run.fds ?? [])],
    ...(run.signal === undefined ? {} : { signal: run.signal }),
  });
  return parsePackReport(text, run.what, status);
}

/**
 * The line that the packer printed.
 * @param status how it ended, for a packer that printed none
 * @throws TinyrunError for a report of a failure
 */
export function parsePackReport(text: string, what: string, status: string): PackReport {
  const fields = reportFields(text);
  const { ok, size, bytes, files, empty, skipped } = fields;
  if (ok !== true) throw packFailure(fields, what, status);
  if (
    typeof size !== 'number' ||
    typeof bytes !== 'number' ||
    typeof files !== 'number' ||
    typeof skipped !== 'number'
  ) {
    throw new TinyrunError('internal', `${what}: the packer's report is damaged`);
  }
  const digest = parseDigest(`sha256:${String(fields.digest)}`);
  const diffId = parseDigest(`sha256:${String(fields.diffId)}`);
  return { diffId, digest, size, bytes, files, skipped, empty: empty === true };
}

/** The error that a report of a failure means. SIGSYS in the status is the system call filter: a bug. */
export function packFailure(
  fields: Readonly<Record<string, unknown>>,
  what: string,
  status: string,
): TinyrunError {
  const { kind, message, errno } = fields;
  if (typeof message !== 'string') return new TinyrunError('internal', `${what}: the packer ${status}`);
  const hint = kind === 'space' ? { hint: 'Remove images or containers that are not needed' } : {};
  return new TinyrunError(errorKind(kind, errno), `${what}: ${message}`, hint);
}

function errorKind(kind: unknown, errno: unknown): ErrorKind {
  if (kind === 'space') return 'unavailable';
  if (errno === 'ENOENT') return 'not_found';
  if (errno === 'EPERM' || errno === 'EACCES') return 'denied';
  return kind === 'io' ? 'internal' : 'invalid';
}
