import { openContainerFiles } from './container-files.ts';
import type { Core } from './core.ts';
import { containerEvent } from './events.ts';
import { packStream } from './pack-stream.ts';
import { findContainer } from './query.ts';

/**
 * A container's files as a plain tar, without what is mounted in it. One that runs goes on meanwhile.
 * @throws TinyrunError `not_found`
 */
export async function exportContainer(
  core: Core,
  text: string,
  how: { readonly signal?: AbortSignal } = {},
): Promise<AsyncIterable<Uint8Array>> {
  const container = await findContainer(core, text);
  const files = await openContainerFiles(core, container);
  try {
    const { fd, options, close } = files.open('alone');
    await containerEvent(core, container.record, 'export');
    return packStream({
      args: options(4),
      fds: [fd],
      what: `Cannot export container "${container.name}"`,
      close: () => {
        close();
        files.close();
      },
      ...how,
    });
  } catch (error) {
    files.close();
    throw error;
  }
}
