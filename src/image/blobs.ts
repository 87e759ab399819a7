import { closeSync, fstatSync, openSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { createRequire } from 'node:module';
import { makePrivateDirectory, writeFileAtomic } from '../disk/atomic.ts';
import type { Paths } from '../disk/paths.ts';
import { errorCode, TinyrunError } from '../errors.ts';
import { type Digest, isDigest, parseDigest } from '../oci/digest.ts';
import { LONGEST_CONFIG } from '../registry/image-config.ts';

/**
 * A manifest, index or config of the store, or undefined where it is not there. Its digest was verified when it was
 * written, so it is not hashed again: `run` reads three of these.
 * @throws TinyrunError `internal` where it is larger than {@link LONGEST_CONFIG}
 */
export function readDocument(paths: Paths, digest: Digest): Buffer | undefined {
  let fd: number;
  try {
    fd = openSync(paths.blob(digest), 'r');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
  try {
    const { size } = fstatSync(fd);
    if (size > LONGEST_CONFIG) {
      throw new TinyrunError(
        'internal',
        `Cannot read blob "${digest}": ${size} bytes, expected at most ${LONGEST_CONFIG}`,
      );
    }
    return readFileSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** The same, hashed: one that the disk damaged counts as missing, so that pulling the image again mends it. */
export function readVerifiedDocument(paths: Paths, digest: Digest): Buffer | undefined {
  const size = blobSize(paths, digest);
  const bytes = size === undefined || size > LONGEST_CONFIG ? undefined : readDocument(paths, digest);
  return bytes === undefined || digestOf(bytes) !== digest ? undefined : bytes;
}

/**
 * Writes a manifest, index or config whose digest was verified: temporary file, fsync, rename.
 * @returns false, with nothing written, where the blob was there already
 */
export function writeDocument(paths: Paths, digest: Digest, bytes: Uint8Array): boolean {
  if (readVerifiedDocument(paths, digest) !== undefined) return false;
  makePrivateDirectory(paths.blobs);
  writeFileAtomic(paths.blob(digest), bytes);
  return true;
}

/** The size (bytes) of a blob of the store, or undefined where it is not there. */
export function blobSize(paths: Paths, digest: Digest): number | undefined {
  return statSync(paths.blob(digest), { throwIfNoEntry: false })?.size;
}

/** The names of `blobs/` or `layers/` that are digests; empty where there is no such directory. */
export function digestsIn(directory: string): Digest[] {
  try {
    return readdirSync(directory)
      .map((name) => `sha256:${name}`)
      .filter(isDigest);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return [];
    throw error;
  }
}

/** The digest of bytes in memory. */
export function digestOf(bytes: Uint8Array | string): Digest {
  return parseDigest(`sha256:${crypto().createHash('sha256').update(bytes).digest('hex')}`);
}

/**
 * The chain ID of each layer, from the bottom: what the layer is together with all below it.
 * @see https://github.com/opencontainers/image-spec/blob/main/config.md#layer-chainid
 */
export function chainIds(diffIds: readonly Digest[]): Digest[] {
  const chain: Digest[] = [];
  for (const diffId of diffIds) {
    const below = chain.at(-1);
    chain.push(below === undefined ? diffId : digestOf(`${below} ${diffId}`));
  }
  return chain;
}

/** Loaded only where something is hashed: no command that merely reads the store pays for it. */
function crypto(): typeof import('node:crypto') {
  return createRequire(import.meta.url)('node:crypto') as typeof import('node:crypto');
}
