import { createHash } from 'node:crypto';
import {
  createReadStream,
  existsSync,
  fsync,
  ftruncateSync,
  readFileSync,
  rmdirSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { makePrivateDirectory, writeFileAtomic } from '../disk/atomic.ts';
import { withLock } from '../disk/lock.ts';
import type { Paths } from '../disk/paths.ts';
import { TinyrunError } from '../errors.ts';
import { type Digest, parseDigest } from '../oci/digest.ts';
import type { Descriptor } from '../oci/image-spec.ts';
import { RegistryError } from '../registry/errors.ts';
import { parseJsonObject, shapeOf } from '../registry/json-shape.ts';
import { LONGEST_MANIFEST } from '../registry/manifest.ts';
import type { Pusher } from '../registry/push-client.ts';
import { DEFAULT_RETRY, retrying } from '../registry/retry.ts';
import type { UploadSource } from '../registry/upload.ts';
import { blobSize, writeDocument } from './blobs.ts';
import { holdBlob } from './ingest.ts';

export interface LayoutTarget {
  /** Of the layout's directory, which is made where it is missing. */
  readonly paths: Paths;
  /** The reference name; an image without one is named by its digest only. */
  readonly tag?: string;
  /** The manifest or index that is named. */
  readonly top: Digest;
  readonly signal?: AbortSignal;
}

const REF_NAME = 'org.opencontainers.image.ref.name';
/** Bytes: what an attempt must add to count as progress. */
const GRAIN = 64 << 10;

/**
 * An OCI image layout in the place of a registry that is pushed to.
 * @throws TinyrunError `invalid` for a directory with other things in it
 * @see https://github.com/opencontainers/image-spec/blob/main/image-layout.md
 */
export function layoutPusher(target: LayoutTarget): Pusher {
  const { paths } = target;
  prepare(paths);
  return {
    hasBlob: async (digest) => blobSize(paths, digest) !== undefined,
    mount: async () => false,
    upload: (descriptor, source, onProgress) => receive(target, { descriptor, source, onProgress }),
    async putManifest(_, mediaType, bytes) {
      const digest = parseDigest(`sha256:${createHash('sha256').update(bytes).digest('hex')}`);
      writeDocument(paths, digest, bytes);
      if (digest === target.top) await nameIn(target, { mediaType, digest, size: bytes.byteLength });
    },
    close() {
      try {
        rmdirSync(paths.ingest);
      } catch {
        // Something broken off is in it, for the next copy to go on with.
      }
    },
  };
}

function prepare(paths: Paths): void {
  makePrivateDirectory(paths.root, 0o755);
  makePrivateDirectory(paths.blobs, 0o755);
  if (existsSync(paths.ociLayout)) return;
  if (existsSync(paths.index))
    throw new TinyrunError('invalid', `Cannot copy to "${paths.root}": it is no OCI image layout`);
  writeFileAtomic(paths.ociLayout, '{"imageLayoutVersion":"1.0.0"}\n', { mode: 0o644 });
}

interface Arriving {
  readonly descriptor: Descriptor;
  readonly source: UploadSource;
  readonly onProgress: (bytes: number) => void;
}

async function receive({ paths, signal }: LayoutTarget, arriving: Arriving): Promise<void> {
  const { descriptor, source, onProgress } = arriving;
  const { digest, size } = descriptor;
  const held = await holdBlob(paths, digest, { size, ...(signal === undefined ? {} : { signal }) });
  try {
    if (held.complete) return;
    const attempt = async (): Promise<void> => {
      let at = held.size();
      for await (const chunk of source(at, size - 1)) {
        signal?.throwIfAborted();
        for (let done = 0; done < chunk.byteLength; )
          done += writeSync(held.fd, chunk, done, undefined, at + done);
        at += chunk.byteLength;
        onProgress(at);
      }
      const found = await hashOf(paths.partial(digest));
      if (found === digest) return;
      ftruncateSync(held.fd, 0);
      throw new RegistryError('invalid', `Cannot copy "${digest}": its content has the digest "${found}"`, {
        retry: 'once',
      });
    };
    await retrying(attempt, DEFAULT_RETRY, { signal, progress: () => Math.floor(held.size() / GRAIN) });
    await promisify(fsync)(held.fd);
    held.commit();
  } finally {
    held.release();
  }
}

async function hashOf(path: string): Promise<Digest> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 }))
    hash.update(chunk as Uint8Array);
  return parseDigest(`sha256:${hash.digest('hex')}`);
}

/** Everything else in the index stays as it is; the lock is on a file that a layout has anyway. */
async function nameIn({ paths, tag }: LayoutTarget, named: Descriptor): Promise<void> {
  await withLock(join(paths.root, 'oci-layout'), 'exclusive', () => {
    const raw = existsSync(paths.index)
      ? parseJsonObject(readFileSync(paths.index), 'index.json', LONGEST_MANIFEST)
      : { schemaVersion: 2, mediaType: 'application/vnd.oci.image.index.v1+json' };
    const shape = shapeOf('index.json');
    const others = (shape.list(raw, 'manifests') ?? []).filter((one, at) => {
      const entry = shape.object(one, `manifests[${at}]`);
      const name = (entry.annotations as Record<string, unknown> | undefined)?.[REF_NAME];
      return tag === undefined ? name !== undefined || entry.digest !== named.digest : name !== tag;
    });
    const entry = tag === undefined ? named : { ...named, annotations: { [REF_NAME]: tag } };
    const text = `${JSON.stringify({ ...raw, manifests: [...others, entry] })}\n`;
    writeFileAtomic(paths.index, text, { mode: 0o644 });
  });
}
