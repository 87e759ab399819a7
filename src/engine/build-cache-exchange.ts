import { resolve } from 'node:path';
import { findStep, saveStep } from '../build/cache.ts';
import {
  type CachedSteps,
  type CachePlace,
  cacheImage,
  parseCachePlace,
  stepsOf,
} from '../build/cache-exchange.ts';
import type { Draft } from '../build/image-config.ts';
import type { Vertices } from '../build/step-events.ts';
import { describe, TinyrunError } from '../errors.ts';
import { digestOf, writeDocument } from '../image/blobs.ts';
import type { CachedStep } from '../image/cached-steps.ts';
import { type Manifest, MEDIA_TYPE } from '../oci/image-spec.ts';
import type { BuildRequest } from './build.ts';
import type { Core } from './core.ts';
import { temporaryImage } from './temporary-image.ts';

/**
 * `--cache-from`: brings the layers into the store and the steps into its cache, before anything is built. One that is not
 * there is no error: the first build of all has none.
 */
export async function importCaches(core: Core, request: BuildRequest, vertices: Vertices): Promise<void> {
  for (const text of request.cacheFrom) {
    const place = parseCachePlace(text, 'from');
    await vertices.step(`importing cache manifest from ${nameOf(place)}`, [], async (vertex) => {
      vertex.started();
      try {
        await importCache(core, request, place);
      } catch (error) {
        if (!(error instanceof TinyrunError) || request.signal.aborted) throw error;
        vertex.log('stderr', Buffer.from(`not used: ${describe(error)}\n`));
      }
    });
  }
}

async function importCache(core: Core, request: BuildRequest, place: CachePlace): Promise<void> {
  const { copyImage } = await import('./copy.ts');
  const store = await core.store();
  const temporary = await temporaryImage(core);
  const { name } = temporary;
  try {
    await copyImage(core, locationOf(place, request.cwd), `store:${name}`, { signal: request.signal });
    const image = store.resolve(name);
    if (image === undefined) return;
    const { config, manifest } = image;
    const layers = config.rootfs.diff_ids.flatMap((diffId, at) => {
      const descriptor = manifest.layers[at];
      return descriptor === undefined ? [] : [{ diffId, descriptor }];
    });
    for (const [key, step] of stepsOf(config, layers))
      if (findStep(core.paths, key) === undefined) saveStep(core.paths, key, step);
  } finally {
    await temporary.release();
  }
}

/** `--cache-to`, after a build that succeeded. @param used the steps of the build */
export async function exportCaches(
  core: Core,
  request: BuildRequest,
  used: CachedSteps,
  { drafts, vertices }: { readonly drafts: readonly Draft[]; readonly vertices: Vertices },
): Promise<void> {
  for (const text of request.cacheTo) {
    const place = parseCachePlace(text, 'to');
    await vertices.step(`exporting cache to ${nameOf(place)}`, [], async (vertex) => {
      vertex.started();
      await exportCache(core, request, place, place.all ? used : ofImages(used, drafts));
    });
  }
}

/** `mode=min`: the steps whose layers are in what was built. */
function ofImages(used: CachedSteps, drafts: readonly Draft[]): CachedSteps {
  const layers = new Set(drafts.flatMap((draft) => draft.layers.map(({ diffId }) => String(diffId))));
  return new Map([...used].filter(([, { layer }]) => layers.has(layer.diffId)));
}

async function exportCache(
  core: Core,
  request: BuildRequest,
  place: CachePlace,
  steps: CachedSteps,
): Promise<void> {
  const { copyImage } = await import('./copy.ts');
  const store = await core.store();
  const { config, layers } = cacheImage(steps, store.host);
  const bytes = Buffer.from(JSON.stringify(config));
  const id = digestOf(bytes);
  writeDocument(core.paths, id, bytes);
  const manifest: Manifest & { readonly schemaVersion: 2 } = {
    schemaVersion: 2,
    mediaType: MEDIA_TYPE.ociManifest,
    config: { mediaType: MEDIA_TYPE.ociConfig, digest: id, size: bytes.length },
    layers: layers.map(({ descriptor: { mediaType, digest, size } }: CachedStep['layer']) => ({
      mediaType,
      digest,
      size,
    })),
  };
  const document = Buffer.from(JSON.stringify(manifest));
  const digest = digestOf(document);
  writeDocument(core.paths, digest, document);
  const temporary = await temporaryImage(core);
  const { name } = temporary;
  try {
    const { canonicalName, parseReference } = await import('../registry/reference.ts');
    await store.add({
      name: canonicalName(parseReference(name)),
      target: { mediaType: MEDIA_TYPE.ociManifest, digest, size: document.length },
      key: { manifest: digest, id },
      preferred: true,
    });
    await copyImage(core, `store:${name}`, locationOf(place, request.cwd), { signal: request.signal });
  } finally {
    await temporary.release();
  }
}

function nameOf(place: CachePlace): string {
  return place.type === 'registry' ? place.reference : `local:${place.directory}`;
}

function locationOf(place: CachePlace, cwd: string): string {
  return place.type === 'registry'
    ? `docker://${place.reference}`
    : `oci:${resolve(cwd, place.directory)}:${place.tag}`;
}
