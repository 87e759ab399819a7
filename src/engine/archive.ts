import { TinyrunError } from '../errors.ts';
import type { LoadedImage } from '../image/load.ts';
import type { PullEvent } from '../image/pull-events.ts';
import type { SavedImage } from '../image/save.ts';
import type { Store } from '../image/store.ts';
import { unpackProgram } from '../native/library.ts';
import { canonicalRepository, parseReference } from '../registry/reference.ts';
import type { Core } from './core.ts';
import { imageEvent } from './events.ts';

export interface SaveHow {
  /** The indexes of images, with all images of them that the store has. */
  readonly allPlatforms?: boolean;
  /** Which image of an index; default: this machine's. */
  readonly platform?: string;
}

export interface LoadHow {
  /** Which image of an index; default: all that the archive has. */
  readonly platform?: string;
  readonly onEvent?: (event: PullEvent) => void;
  readonly signal?: AbortSignal;
}

/**
 * `save`: a tar of images, as a stream.
 * @param texts names, or ids, which come without a name; a repository without a tag means all its tags
 * @throws TinyrunError `not_found` before the first byte
 */
export async function saveImages(
  core: Core,
  texts: readonly string[],
  how: SaveHow = {},
): Promise<AsyncIterable<Uint8Array>> {
  const [{ save }, { parsePlatform }] = await Promise.all([
    import('../image/save.ts'),
    import('../registry/platform.ts'),
  ]);
  const store = await core.store();
  const platform = how.platform === undefined ? undefined : parsePlatform(how.platform, store.host);
  const byManifest = new Map<string, SavedImage>();
  for (const text of texts) {
    for (const name of namesOf(store, text)) {
      const image = store.resolve(name, platform);
      if (image === undefined) throw new TinyrunError('not_found', `No such image: ${text}`);
      const known = byManifest.get(image.manifestDigest)?.names ?? [];
      const isName = image.references.includes(name) && !known.includes(name);
      byManifest.set(image.manifestDigest, { image, names: isName ? [...known, name] : known });
    }
  }
  for (const { image } of byManifest.values()) await imageEvent(core, 'save', image.id);
  return save(store, [...byManifest.values()], how.allPlatforms ?? false);
}

/** The canonical names that a text stands for; itself, where it is an id. */
function namesOf(store: Store, text: string): readonly string[] {
  let reference: ReturnType<typeof parseReference>;
  try {
    reference = parseReference(text);
  } catch (error) {
    if (store.resolve(text) !== undefined) return [text];
    throw error;
  }
  if (reference.digest !== undefined) return [text];
  const all = store
    .list()
    .flatMap(({ references }) => references)
    .filter((name) => !name.includes('@'));
  const wanted = canonicalRepository(reference);
  const names = [...new Set(all)].filter((name) => {
    const { tag, ...bare } = parseReference(name);
    return canonicalRepository(bare) === wanted && (reference.tag === undefined || tag === reference.tag);
  });
  return names.length > 0 ? names : [text];
}

/** `load`: the images of an archive. @throws TinyrunError `invalid` for an archive that is none */
export async function loadImages(
  core: Core,
  chunks: AsyncIterable<Uint8Array>,
  how: LoadHow = {},
): Promise<LoadedImage[]> {
  const [{ readArchive }, { decompressed }, { load }, { parsePlatform }] = await Promise.all([
    import('../image/archive.ts'),
    import('../image/decompress.ts'),
    import('../image/load.ts'),
    import('../registry/platform.ts'),
  ]);
  const store = await core.store();
  await store.repair();
  const archive = await readArchive(core.paths, decompressed(chunks), how.signal);
  try {
    const loaded = await load(store, archive, {
      ...(how.platform === undefined ? {} : { platform: parsePlatform(how.platform, store.host) }),
      onEvent: how.onEvent ?? (() => {}),
      ...(how.signal === undefined ? {} : { signal: how.signal }),
      unpackerPath: unpackProgram(),
    });
    for (const { id, name } of loaded) await imageEvent(core, 'load', id, name);
    return loaded;
  } finally {
    archive.dispose();
  }
}
