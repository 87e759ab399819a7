import { closeSync, openSync, readFileSync, readSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { TinyrunError } from '../errors.ts';
import { type Digest, hexOf } from '../oci/digest.ts';
import type { Archive, ArchiveFile } from './archive.ts';
import { digestOf } from './blobs.ts';

const BLOB = /^blobs\/sha256\/([0-9a-f]{64})$/;

/**
 * An OCI image layout directory in the place of an archive. Documents are verified when they are read; larger blobs by
 * who reads them.
 */
export function layoutArchive(directory: string): Archive {
  const blob = (digest: Digest): ArchiveFile | undefined =>
    fileAt(join(directory, 'blobs', 'sha256', hexOf(digest)), () => digest);
  return {
    find(name) {
      const hex = BLOB.exec(name)?.[1];
      if (hex !== undefined) return blob(`sha256:${hex}` as Digest);
      if (name !== 'index.json' && name !== 'oci-layout') return undefined;
      const path = join(directory, name);
      return fileAt(path, () => digestOf(readFileSync(path)));
    },
    withDigest: blob,
    read({ path, size, digest }, longest) {
      if (size > longest) throw bad(directory, `"${digest}" has ${size} bytes, expected ${longest} at most`);
      const bytes = readFileSync(path);
      if (digestOf(bytes) !== digest) throw bad(directory, `blob "${digest}" is damaged`);
      return bytes;
    },
    dispose() {},
  };
}

function fileAt(path: string, digest: () => Digest): ArchiveFile | undefined {
  const found = statSync(path, { throwIfNoEntry: false });
  if (found?.isFile() !== true) return undefined;
  const { size } = found;
  return {
    path,
    size,
    get digest() {
      return digest();
    },
    get start() {
      return startOf(path);
    },
  };
}

function startOf(path: string): Uint8Array {
  const fd = openSync(path, 'r');
  try {
    const start = Buffer.alloc(8);
    return start.subarray(0, readSync(fd, start, 0, 8, 0));
  } finally {
    closeSync(fd);
  }
}

function bad(directory: string, why: string): TinyrunError {
  return new TinyrunError('invalid', `Cannot read the image layout "${directory}": ${why}`);
}
