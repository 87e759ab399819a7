import {
  chmodSync,
  chownSync,
  closeSync,
  createReadStream,
  mkdirSync,
  openSync,
  rmSync,
  statSync,
} from 'node:fs';
import { join } from 'node:path';
import { closeFd, openRoot } from '../native/syscalls.ts';
import { runPacker } from './pack.ts';
import { unpackArchive } from './unpack-archive.ts';

export interface ExportRootInput {
  /** The program tinyrun-pack. */
  readonly packer: string;
  /** Absolute directories of the layers, top first; at least one. */
  readonly lower: readonly string[];
  /** Seconds since 1970: no file is younger. */
  readonly clampMtime?: number;
  readonly signal?: AbortSignal;
}

/**
 * Writes the files of an image, all layers as one, as a tar.
 * @param file absolute; replaced. It is made by whoever calls, so its place is trusted.
 */
export async function exportRootTar(input: ExportRootInput, file: string): Promise<void> {
  // One layer is no overlay: openRoot would give the directory itself, which cannot be moved into the sandbox.
  const [first, ...others] = input.lower;
  if (first === undefined) throw new Error('an image without any directory');
  const blobFd = openSync(file, 'w', 0o644);
  const rootFd = others.length === 0 ? undefined : openRoot(input.lower);
  try {
    await runPacker({
      packer: input.packer,
      args: [
        ...(rootFd === undefined ? ['--tree', first] : ['--mount', '4']),
        '--compression',
        'none',
        ...(input.clampMtime === undefined ? [] : ['--clamp', String(input.clampMtime)]),
      ],
      blobFd,
      ...(rootFd === undefined ? {} : { fds: [rootFd] }),
      what: `Cannot write "${file}"`,
      ...(input.signal === undefined ? {} : { signal: input.signal }),
    });
  } catch (error) {
    rmSync(file, { force: true });
    throw error;
  } finally {
    if (rootFd !== undefined) closeFd(rootFd);
    closeSync(blobFd);
  }
}

/** Bytes of the files that one export may write. */
const MAX_BYTES = 1024 ** 4;

/**
 * Writes the files of an image into a directory, over what is there. The unpacker's sandbox makes the directory its root: no
 * link in the image or in the directory leads out of it.
 */
export async function exportRootFiles(
  input: ExportRootInput & {
    readonly unpacker: string;
    /** Of the caller alone: a name beside `directory` could be someone's link already (/tmp). */
    readonly scratch: string;
  },
  directory: string,
): Promise<void> {
  mkdirSync(directory, { recursive: true, mode: 0o755 });
  const before = statSync(directory);
  const archive = join(input.scratch, 'export.tar');
  try {
    await exportRootTar(input, archive);
    await unpackArchive({
      unpacker: input.unpacker,
      directory,
      body: createReadStream(archive, { highWaterMark: 1024 * 1024 }),
      maxBytes: MAX_BYTES,
      what: `the result into "${directory}"`,
      ...(input.signal === undefined ? {} : { signal: input.signal }),
    });
  } finally {
    rmSync(archive, { force: true });
    // The directory itself stays whose it was.
    chownSync(directory, before.uid, before.gid);
    chmodSync(directory, before.mode & 0o7777);
  }
}
