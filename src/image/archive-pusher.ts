import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createWriteStream, rmSync } from 'node:fs';
import { rename } from 'node:fs/promises';
import { finished } from 'node:stream/promises';
import { pack } from 'tar-stream';
import { TinyrunError } from '../errors.ts';
import { type Digest, hexOf } from '../oci/digest.ts';
import type { Descriptor } from '../oci/image-spec.ts';
import { parseDocument } from '../registry/manifest.ts';
import type { Pusher } from '../registry/push-client.ts';
import { familiarName, type Reference } from '../registry/reference.ts';
import { DEFAULT_RETRY, retrying } from '../registry/retry.ts';
import type { UploadSource } from '../registry/upload.ts';
import type { PushDocument } from './push-plan.ts';

export interface ArchiveTarget {
  /** Replaced when the archive is whole. */
  readonly path: string;
  readonly top: PushDocument;
  /** For an OCI layout: the reference name. */
  readonly tag?: string;
  /** The image's whole name, canonical: `load` of containerd and tinyrun give it back. */
  readonly name?: string;
  /** With a `manifest.json`, as `docker load` wants it: the name of the image there, or null. */
  readonly docker?: { readonly name: Reference | null };
  readonly signal?: AbortSignal;
}

export interface ArchivePusher extends Pusher {
  /** Makes the archive appear under its name. */
  finish(): Promise<void>;
}

/** The time of every member: the same image gives the same archive. */
const EPOCH = new Date(0);
const GRAIN = 64 << 10;

/** A tar with an OCI image layout in the place of a registry that is pushed to. Its blobs come one after the other. */
export function archivePusher(target: ArchiveTarget): ArchivePusher {
  const { path, top } = target;
  const temporary = `${path}.${randomBytes(4).toString('hex')}.tmp`;
  const tar = pack();
  const file = createWriteStream(temporary, { flags: 'wx', mode: 0o644 });
  const written = finished(tar.pipe(file)).catch((cause: unknown) => {
    throw new TinyrunError('unavailable', `Cannot write "${path}"`, { cause });
  });
  // It is awaited in the end; until then a failure shows in the entry that is being written.
  written.catch((error: Error) => tar.destroy(error));
  const done = new Set<string>();
  let isFinished = false;
  const small = async (name: string, bytes: Uint8Array): Promise<void> => {
    if (done.has(name)) return;
    done.add(name);
    await new Promise<void>((resolve, reject) => {
      tar.once('error', reject);
      tar.entry({ name, mode: 0o644, mtime: EPOCH }, Buffer.from(bytes), (error) =>
        error ? reject(error) : resolve(),
      );
    });
  };
  return {
    hasBlob: async (digest) => done.has(blobName(digest)),
    mount: async () => false,
    async upload(descriptor, source, onProgress) {
      done.add(blobName(descriptor.digest));
      await writeBlob(tar, { descriptor, source, onProgress, signal: target.signal });
    },
    putManifest: async (_, __, bytes) =>
      small(blobName(`sha256:${createHash('sha256').update(bytes).digest('hex')}` as Digest), bytes),
    async finish() {
      const { mediaType, digest, bytes } = top;
      const names = {
        ...(target.name === undefined ? {} : { 'io.containerd.image.name': target.name }),
        ...(target.tag === undefined ? {} : { 'org.opencontainers.image.ref.name': target.tag }),
      };
      const annotations = Object.keys(names).length === 0 ? {} : { annotations: names };
      const named = { mediaType, digest, size: bytes.byteLength, ...annotations };
      await small('index.json', json({ schemaVersion: 2, manifests: [named] }));
      if (target.docker !== undefined)
        await small('manifest.json', json([dockerEntry(top, target.docker.name)]));
      await small('oci-layout', json({ imageLayoutVersion: '1.0.0' }));
      tar.finalize();
      await written;
      await rename(temporary, path);
      isFinished = true;
    },
    close() {
      if (isFinished) return;
      tar.destroy();
      file.destroy();
      // Now: the command may end before anything asynchronous does.
      rmSync(temporary, { force: true });
    },
  };
}

function dockerEntry({ bytes, mediaType }: PushDocument, name: Reference | null): unknown {
  const document = parseDocument(bytes, mediaType);
  if (document.kind === 'index')
    throw new TinyrunError(
      'unsupported',
      'Cannot copy an index into a docker archive: it holds one platform',
    );
  const { config, layers } = document.manifest;
  return {
    Config: blobName(config.digest),
    RepoTags: name === null ? null : [familiarName(name)],
    Layers: layers.map(({ digest }) => blobName(digest)),
  };
}

interface Writing {
  readonly descriptor: Descriptor;
  readonly source: UploadSource;
  readonly onProgress: (bytes: number) => void;
  readonly signal: AbortSignal | undefined;
}

async function writeBlob(tar: ReturnType<typeof pack>, writing: Writing): Promise<void> {
  const { descriptor, source, onProgress, signal } = writing;
  const { digest, size } = descriptor;
  const hash = createHash('sha256');
  let at = 0;
  let end = (_: Error | null | undefined): void => {};
  const ended = new Promise<void>((resolve, reject) => {
    end = (error) => (error ? reject(error) : resolve());
  });
  // It is awaited last; what fails before ends the loop by itself.
  ended.catch(() => {});
  const entry = tar.entry({ name: blobName(digest), size, mode: 0o644, mtime: EPOCH }, (error) => end(error));
  const attempt = async (): Promise<void> => {
    for await (const chunk of source(at, size - 1)) {
      signal?.throwIfAborted();
      hash.update(chunk);
      at += chunk.byteLength;
      if (!entry.write(chunk)) await once(entry, 'drain');
      onProgress(at);
    }
  };
  await retrying(attempt, DEFAULT_RETRY, { signal, progress: () => Math.floor(at / GRAIN) });
  // What is in the tar cannot be taken back: there is no second try.
  const found = `sha256:${hash.digest('hex')}`;
  if (found !== digest)
    throw new TinyrunError('invalid', `Cannot copy "${digest}": its content has the digest "${found}"`);
  entry.end(null);
  await ended;
}

function blobName(digest: Digest): string {
  return `blobs/sha256/${hexOf(digest)}`;
}

function json(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}
