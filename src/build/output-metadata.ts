import { writeFileAtomic } from '../disk/atomic.ts';
import type { Digest } from '../oci/digest.ts';
import type { Descriptor } from '../oci/image-spec.ts';

export interface BuildResult {
  /** Of the config: what docker calls the image's id. */
  readonly id: Digest;
  /** The manifest, or the index of several platforms. */
  readonly descriptor: Descriptor;
  /** As they were tagged or pushed, canonical. */
  readonly names: readonly string[];
  /** Of the build, for `buildx history`: any unique text. */
  readonly ref?: string;
}

/**
 * `--metadata-file`: the keys of buildx that tools read.
 * https://docs.docker.com/reference/cli/docker/buildx/build/#metadata-file
 */
export function buildMetadata({
  id,
  descriptor,
  names,
  ref,
}: BuildResult): Readonly<Record<string, unknown>> {
  const { mediaType, digest, size, annotations, platform } = descriptor;
  return {
    ...(ref === undefined ? {} : { 'buildx.build.ref': ref }),
    'containerimage.config.digest': id,
    'containerimage.descriptor': {
      mediaType,
      digest,
      size,
      ...(annotations === undefined ? {} : { annotations }),
      ...(platform === undefined ? {} : { platform }),
    },
    'containerimage.digest': digest,
    ...(names.length === 0 ? {} : { 'image.name': names.join(',') }),
  };
}

/** @param file absolute */
export function writeMetadata(file: string, result: BuildResult): void {
  writeFileAtomic(file, `${JSON.stringify(buildMetadata(result), undefined, 2)}\n`, {
    mode: 0o644,
    durable: false,
  });
}

/** `--iidfile`: the id without a line end, as docker. @param file absolute */
export function writeIdFile(file: string, id: Digest): void {
  writeFileAtomic(file, id, { mode: 0o644, durable: false });
}
