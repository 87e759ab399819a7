import { createReadStream } from 'node:fs';
import { resolve } from 'node:path';
import { errorCode, TinyrunError } from '../errors.ts';
import type { Archive } from '../image/archive.ts';
import { archiveRegistry } from '../image/archive-registry.ts';
import { layoutArchive } from '../image/layout.ts';
import { dockerImages } from '../image/load.ts';
import type { Location } from '../image/locations.ts';
import { type PushWork, storedBlobs } from '../image/push.ts';
import { type PushPlan, planPush } from '../image/push-plan.ts';
import type { Digest } from '../oci/digest.ts';
import { LONGEST_MANIFEST, parseDocument } from '../registry/manifest.ts';
import { parsePlatform } from '../registry/platform.ts';
import { canonicalName, parseReference, type Reference } from '../registry/reference.ts';
import { openRegistry, type Registry } from '../registry/registry.ts';
import type { CopyHow } from './copy.ts';
import type { Core } from './core.ts';
import { registryOptions, retryOptions } from './registry-options.ts';

/** Where a copy comes from: a registry, or what stands in the place of one. */
export interface CopySource {
  readonly registry: Registry;
  readonly reference: Reference;
  /** True for a registry in the proper sense. */
  readonly isRemote: boolean;
  /** What to copy where that is known without asking. */
  plan?(allPlatforms: boolean): PushPlan;
  readonly blobs?: PushWork['blobs'];
  close(): void;
}

export async function openSource(core: Core, from: Location, how: CopyHow): Promise<CopySource> {
  if (from.kind === 'registry') {
    const registry = openRegistry({
      ...registryOptions(core, how.signal),
      ...retryOptions(how),
      ...(how.sourceInsecure === undefined ? {} : { insecure: how.sourceInsecure }),
    });
    const [reference = from.reference] = await registry.expand(from.text, from.reference);
    return { registry, reference, isRemote: true, close: () => registry.close() };
  }
  if (from.kind === 'store') return storeSource(core, from.text, how);
  const path = resolve(how.cwd ?? '/', from.path);
  if (from.kind === 'layout') {
    const archive = layoutArchive(path);
    return archiveSource(archive, { digest: tagged(archive, path, from.tag) });
  }
  const { readArchive } = await import('../image/archive.ts');
  const { decompressed } = await import('../image/decompress.ts');
  const archive = await readArchive(core.paths, decompressed(bytesOf(path)), how.signal);
  try {
    return archiveSource(
      archive,
      from.kind === 'docker-archive' && archive.find('index.json') === undefined
        ? inDocker(archive, path, from.name)
        : { digest: tagged(archive, path, from.kind === 'docker-archive' ? from.name?.tag : from.tag) },
    );
  } catch (error) {
    archive.dispose();
    throw error;
  }
}

async function storeSource(core: Core, text: string, how: CopyHow): Promise<CopySource> {
  const store = await core.store();
  const image = store.resolve(
    text,
    how.platform === undefined ? undefined : parsePlatform(how.platform, store.host),
  );
  if (image === undefined) throw new TinyrunError('not_found', `No such image: ${text}`);
  const registry = archiveRegistry(layoutArchive(core.paths.root), new Map());
  return {
    ...archiveSourceOf(registry, image.manifestDigest),
    plan: (allPlatforms) => planPush(core.paths, image, allPlatforms),
    blobs: storedBlobs(core.paths),
  };
}

interface Chosen {
  readonly digest: Digest;
  /** Documents that follow from the archive. */
  readonly made?: ReadonlyMap<Digest, Uint8Array>;
}

function archiveSource(archive: Archive, { digest, made = new Map() }: Chosen): CopySource {
  return { ...archiveSourceOf(archiveRegistry(archive, made), digest), close: () => archive.dispose() };
}

function archiveSourceOf(registry: Registry, digest: Digest): CopySource {
  const reference: Reference = { registry: 'archive', repository: 'image', digest };
  return { registry, reference, isRemote: false, close() {} };
}

const NAMES = ['org.opencontainers.image.ref.name', 'io.containerd.image.name'];

/** The entry of a layout that a tag names; its only one where no tag is given. */
function tagged(archive: Archive, path: string, tag: string | undefined): Digest {
  const file = archive.find('index.json');
  if (file === undefined)
    throw new TinyrunError('not_found', `Cannot copy from "${path}": it has no index.json`);
  const document = parseDocument(archive.read(file, LONGEST_MANIFEST));
  const entries = document.kind === 'index' ? document.index.manifests : [];
  const found =
    tag === undefined
      ? entries
      : entries.filter(({ annotations = {} }) => NAMES.some((key) => annotations[key] === tag));
  const digests = new Set(found.map(({ digest }) => digest));
  const [digest] = digests;
  if (digest !== undefined && digests.size === 1) return digest;
  const names = entries.flatMap(({ annotations = {} }) => annotations[NAMES[0] ?? ''] ?? []);
  throw new TinyrunError(
    'not_found',
    tag === undefined
      ? `Cannot copy from "${path}": it has ${digests.size} images, expected a tag that names one`
      : `Cannot copy from "${path}": it has no image "${tag}"`,
    names.length === 0 ? {} : { hint: `It has ${names.slice(0, 20).join(', ')}` },
  );
}

function inDocker(archive: Archive, path: string, name: Reference | undefined): Chosen {
  const made = new Map<Digest, Uint8Array>();
  const listed = dockerImages(archive, made);
  if (listed === undefined)
    throw new TinyrunError('invalid', `Cannot copy from "${path}": it has no manifest.json`);
  const wanted = name === undefined ? undefined : canonicalName(name);
  const found = wanted === undefined ? listed : listed.filter(({ names }) => names.includes(wanted));
  const [only] = found;
  if (only !== undefined && found.length === 1) return { digest: only.digest, made };
  const names = listed.flatMap((one) => one.names);
  throw new TinyrunError(
    'not_found',
    wanted === undefined
      ? `Cannot copy from "${path}": it has ${listed.length} images, expected a name of one`
      : `Cannot copy from "${path}": it has no image "${wanted}"`,
    names.length === 0
      ? {}
      : {
          hint: `It has ${names
            .slice(0, 20)
            .map((one) => canonicalName(parseReference(one)))
            .join(', ')}`,
        },
  );
}

async function* bytesOf(path: string): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) yield chunk as Uint8Array;
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error;
    throw new TinyrunError('not_found', `open ${path}: no such file or directory`);
  }
}
