import type { RemovedImage } from '../image/store.ts';
import type { StoredImage } from '../image/stored-image.ts';
import type { Core } from './core.ts';
import { listNow } from './query.ts';

/** All images of the store. */
export async function listImages(core: Core): Promise<StoredImage[]> {
  return (await core.store()).list();
}

/** `rmi`. @throws TinyrunError `not_found`, `conflict` in Docker's words */
export async function removeImage(
  core: Core,
  text: string,
  how: { readonly force?: boolean } = {},
): Promise<RemovedImage> {
  const store = await core.store();
  const lockIsHeld = await core.lockIsHeld();
  return store.remove(text, {
    ...(how.force === undefined ? {} : { force: how.force }),
    inUse: () =>
      listNow(core, lockIsHeld).map(({ id, status, record }) => ({
        id,
        running: status === 'running',
        image: record.image.id,
      })),
  });
}
