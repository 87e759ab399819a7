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
  if (output.dest !== '-') {
    await writeFiles(output, image, resolve(host.cwd, output.dest), host);
    return;
  }
  const { write } = host;
  if (write === undefined)
    throw new TinyrunError(
      'invalid',
      'dest file is required for the output: refusing to write it to a terminal',
    );
  const scratch = makeScratch(host.paths.buildScratch);
  try {
    const file = join(scratch.directory, 'output');
    await writeFiles(output, image, file, host);
    for await (const chunk of createReadStream(file, { highWaterMark: 256 * 1024 }))
      await write(chunk as Uint8Array);
  } finally {
    scratch.release();
  }
}

async function writeFiles(
  output: FileOutput,
  image: FinishedImage,
  dest: string,
  host: OutputHost,
): Promise<void> {
  const { packer, unpacker, paths, clampMtime, signal } = host;
  const common = {
    ...(clampMtime === undefined ? {} : { clampMtime }),
    ...(signal === undefined ? {} : { signal }),
  };
  const root = { packer, lower: image.lower.length === 0 ? [paths.emptyLayer] : image.lower, ...common };
  if (!('names' in output)) {
    const { exportRootFiles, exportRootTar } = await import('../image/export-root.ts');
    if (output.type === 'tar') await exportRootTar(root, dest);
    else await exportRootFiles({ ...root, unpacker }, dest);
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
