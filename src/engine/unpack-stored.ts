import type { StoredImage } from '../image/stored-image.ts';
import { unpackProgram } from '../native/library.ts';
import { parseReference, type Reference } from '../registry/reference.ts';
import type { Core } from './core.ts';

/**
 * Unpacks an image whose blobs are here, but not its layers: a client has pushed it to this store, or another program
 * has copied it into it.
 */
export async function unpackStored(
  core: Core,
  image: StoredImage,
  signal?: AbortSignal,
): Promise<StoredImage> {
  const [{ pull }, { archiveRegistry }, { layoutArchive }] = await Promise.all([
    import('../image/pull.ts'),
    import('../image/archive-registry.ts'),
    import('../image/layout.ts'),
  ]);
  const { os, architecture, variant } = image.config;
  const [name] = image.references;
  const known = name === undefined ? { registry: 'store', repository: 'image' } : parseReference(name);
  const reference: Reference = { ...known, digest: image.targetDigest };
  const pulled = await pull(
    await core.store(),
    archiveRegistry(layoutArchive(core.paths.root), new Map()),
    reference,
    {
      platform: { os, architecture, ...(variant === undefined ? {} : { variant }) },
      onEvent: () => {},
      ...(signal === undefined ? {} : { signal }),
      unpackerPath: unpackProgram(),
      naming: name === undefined ? {} : { name },
    },
  );
  return pulled.image;
}
