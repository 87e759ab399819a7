import { type Draft, emptyDraft } from '../build/image-config.ts';
import { importLayer } from '../image/import-layer.ts';
import { packProgram, unpackProgram } from '../native/library.ts';
import type { Digest } from '../oci/digest.ts';
import type { Platform } from '../oci/image-spec.ts';
import { changeConfig } from './change-config.ts';
import { timestamp } from './clock.ts';
import { addImage } from './commit.ts';
import type { Core } from './core.ts';
import { imageEvent } from './events.ts';

export interface ImportRequest {
  /** A tar of a root file system, plain or compressed with gzip or zstd. */
  readonly archive: AsyncIterable<Uint8Array>;
  /** Where it comes from, for the history: a URL, or `-`. */
  readonly source: string;
  /** `REPOSITORY[:TAG]` */
  readonly name?: string;
  readonly message?: string;
  /** Lines of a Dockerfile that make the config. */
  readonly changes?: readonly string[];
  /** Default: this machine's. */
  readonly platform?: string;
  readonly signal?: AbortSignal;
}

/**
 * Makes an image with one layer of a tar.
 * @returns the image's id
 * @throws TinyrunError `invalid` for what is no tar, a name or a change that is none
 */
export async function importImage(core: Core, request: ImportRequest): Promise<Digest> {
  const [{ tagNameOf }, { parsePlatform }] = await Promise.all([
    import('../image/lookup.ts'),
    import('../registry/platform.ts'),
  ]);
  const name = request.name === undefined ? undefined : tagNameOf(request.name);
  const store = await core.store();
  const platform: Platform =
    request.platform === undefined ? store.host : parsePlatform(request.platform, store.host);
  // Wrong changes are told before anything is read.
  const draft = changeConfig({ ...emptyDraft(platform), config: {} }, request.changes ?? []);
  const lease = await store.lease();
  try {
    await store.repair();
    const layer = await importLayer(core.paths, {
      unpacker: unpackProgram(),
      packer: packProgram(),
      archive: request.archive,
      ...(request.signal === undefined ? {} : { signal: request.signal }),
    });
    const step = { created: timestamp(), comment: request.message ?? `Imported from ${request.source}` };
    const made: Draft = { ...draft, layers: [layer], history: [step] };
    const id = await addImage(core, made, name);
    await imageEvent(core, 'import', id, request.name ?? id);
    return id;
  } finally {
    lease.release();
  }
}

/** Bytes of an archive that a URL names: no root file system of a container has more. */
const LONGEST_ARCHIVE = 1024 ** 4;

/** As {@link importImage}, of what a URL names: fetched to a file of the store first, so that nothing half is imported. */
export async function importUrl(core: Core, request: Omit<ImportRequest, 'archive'>): Promise<Digest> {
  const [{ fetchFile }, { createReadStream, rmSync }, { join }, { makePrivateDirectory }, { newId }] =
    await Promise.all([
      import('../image/http-file.ts'),
      import('node:fs'),
      import('node:path'),
      import('../disk/atomic.ts'),
      import('./ids.ts'),
    ]);
  // Beside the downloads: what a killed command leaves there is cleared away with old ones.
  makePrivateDirectory(core.paths.ingest);
  const file = join(core.paths.ingest, `import-${newId().slice(0, 16)}`);
  try {
    await fetchFile({
      url: request.source,
      file,
      maxBytes: LONGEST_ARCHIVE,
      env: core.env,
      ...(request.signal === undefined ? {} : { signal: request.signal }),
    });
    return await importImage(core, { ...request, archive: createReadStream(file) });
  } finally {
    rmSync(file, { force: true });
  }
}
