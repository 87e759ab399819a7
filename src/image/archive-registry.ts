import { createReadStream } from 'node:fs';
import type { Digest } from '../oci/digest.ts';
import { RegistryError } from '../registry/errors.ts';
import { documentMediaType, LONGEST_MANIFEST } from '../registry/manifest.ts';
import type { FetchedManifest, Registry } from '../registry/registry.ts';
import type { Archive } from './archive.ts';

/** Bytes per read. */
const READ_SIZE = 256 << 10;

/**
 * An archive in the place of a registry, so that loading goes the way of pulling: everything is verified, unpacked once and
 * shared in the same manner.
 * @param made documents that are not in the archive but follow from it
 */
export function archiveRegistry(archive: Archive, made: ReadonlyMap<Digest, Uint8Array>): Registry {
  const documentOf = (digest: Digest | undefined): FetchedManifest => {
    if (digest === undefined) throw new Error('an archive knows images by their digest only');
    const bytes = made.get(digest) ?? archive.read(fileOf(archive, digest), LONGEST_MANIFEST);
    return { bytes, digest, mediaType: documentMediaType(bytes) };
  };
  return {
    manifest: async ({ digest }) => documentOf(digest),
    manifestByDigest: async (_, { digest }) => documentOf(digest),
    headManifest: async ({ digest }) => {
      const { bytes, mediaType } = documentOf(digest);
      return digest === undefined ? undefined : { digest, mediaType, size: bytes.byteLength };
    },
    blob: async (_, descriptor, offset) => {
      const { path, size } = fileOf(archive, descriptor.digest);
      if (size !== descriptor.size) throw wrongSize(descriptor.digest, size, descriptor.size);
      const body = createReadStream(path, { start: offset, highWaterMark: READ_SIZE });
      return { start: offset, body, close: () => body.destroy() };
    },
    blobBytes: async (_, descriptor, longest = LONGEST_MANIFEST) => {
      const file = fileOf(archive, descriptor.digest);
      if (file.size !== descriptor.size) throw wrongSize(descriptor.digest, file.size, descriptor.size);
      return archive.read(file, longest);
    },
    referrers: async () => [],
    tags: async () => [],
    retrying: (attempt) => attempt(1),
    close() {},
  };
}

function fileOf(archive: Archive, digest: Digest): NonNullable<ReturnType<Archive['withDigest']>> {
  const file = archive.withDigest(digest);
  if (file !== undefined) return file;
  throw new RegistryError('invalid', `Cannot load the archive: "${digest}" is not in it`);
}

function wrongSize(digest: Digest, size: number, expected: number): RegistryError {
  return new RegistryError(
    'invalid',
    `Cannot load the archive: "${digest}" has ${size} bytes, but the manifest says ${expected}`,
  );
}
