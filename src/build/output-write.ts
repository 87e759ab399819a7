import { createReadStream } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Paths } from '../disk/paths.ts';
import { TinyrunError } from '../errors.ts';
import type { Digest } from '../oci/digest.ts';
import type { BuildOutput } from './output.ts';
import { makeScratch } from './scratch.ts';

/** What a build made, in the store under a lease. */
export interface FinishedImage {
  readonly manifestDigest: Digest;
  /** Of the index of several platforms; else the manifest's. */
  readonly targetDigest: Digest;
  /** Directories of its layers, top first. */
  readonly lower: readonly string[];
}

export interface OutputHost {
  readonly paths: Paths;
  readonly cwd: string;
  readonly packer: string;
  readonly unpacker: string;
  /** Of `-t`: what the image is called in an archive where the output does not say. */
  readonly names: readonly string[];
  /** For `dest=-`. */
  readonly write?: (chunk: Uint8Array) => Promise<void>;
  /** Seconds since 1970 (SOURCE_DATE_EPOCH). */
  readonly clampMtime?: number;
  readonly signal?: AbortSignal;
}

/** Outputs that are files; `image` and `cacheonly` are the engine's own matter (tag, push). */
export type FileOutput = Exclude<BuildOutput, { type: 'image' | 'cacheonly' }>;

/** Writes one output. */
export async function writeOutput(output: FileOutput, image: FinishedImage, host: OutputHost): Promise<void> {
  const scratch = makeScratch(host.paths.buildScratch);
  try {
    if (output.dest === '-') await writeToStdout(output, image, host, scratch.directory);
    else
      await writeFiles(output, image, {
        ...host,
        dest: resolve(host.cwd, output.dest),
        scratch: scratch.directory,
      });
  } finally {
    scratch.release();
  }
}

async function writeToStdout(
  output: FileOutput,
  image: FinishedImage,
  host: OutputHost,
  scratch: string,
): Promise<void> {
  const { write } = host;
  if (write === undefined)
    throw new TinyrunError(
      'invalid',
      'dest file is required for the output: refusing to write it to a terminal',
    );
  const dest = join(scratch, 'output');
  await writeFiles(output, image, { ...host, dest, scratch });
  for await (const chunk of createReadStream(dest, { highWaterMark: 256 * 1024 }))
    await write(chunk as Uint8Array);
}

interface Destination extends OutputHost {
  /** Absolute. */
  readonly dest: string;
  readonly scratch: string;
}

async function writeFiles(output: FileOutput, image: FinishedImage, host: Destination): Promise<void> {
  const { packer, unpacker, paths, clampMtime, signal, dest, scratch } = host;
  const common = {
    ...(clampMtime === undefined ? {} : { clampMtime }),
    ...(signal === undefined ? {} : { signal }),
  };
  const root = { packer, lower: image.lower.length === 0 ? [paths.emptyLayer] : image.lower, ...common };
  if (!('names' in output)) {
    const { exportRootFiles, exportRootTar } = await import('../image/export-root.ts');
    if (output.type === 'tar') await exportRootTar(root, dest);
    else await exportRootFiles({ ...root, unpacker, scratch }, dest);
    return;
  }
  const { exportImage } = await import('../image/export-image.ts');
  const name = output.names[0] ?? host.names[0];
  await exportImage({
    paths,
    image,
    format: output.type,
    dest,
    tar: output.tar,
    ...(name === undefined ? {} : { name }),
    ...(signal === undefined ? {} : { signal }),
  });
}
