import { TinyrunError } from '../errors.ts';
import { type Container, containerIds, readContainer, resolveId } from './containers.ts';
import type { Core } from './core.ts';

/**
 * The container that a name, an id or a prefix of an id means, as it is now.
 * @throws TinyrunError `not_found`, `conflict` (ambiguous prefix) in Docker's words
 */
export async function findContainer(core: Core, text: string): Promise<Container> {
  const id = resolveId(core.paths, text);
  const container = readContainer(core.paths, id, await core.lockIsHeld());
  // Only just made, or removed in between: to the caller it is not there.
  if (container === undefined) throw new TinyrunError('not_found', `No such container: ${text}`);
  return container;
}

/** All containers, newest first. Those that vanish or are damaged meanwhile are left out: a listing never fails for one. */
export async function listContainers(core: Core): Promise<Container[]> {
  return listNow(core, await core.lockIsHeld());
}

/** As {@link listContainers}, in one go: for what must not be interleaved with other work. */
export function listNow(core: Core, lockIsHeld: (path: string) => boolean): Container[] {
  const found: Container[] = [];
  for (const id of containerIds(core.paths)) {
    const container = tryRead(core, id, lockIsHeld);
    if (container !== undefined) found.push(container);
  }
  return found.sort((a, b) => (a.record.created < b.record.created ? 1 : -1));
}

function tryRead(core: Core, id: string, lockIsHeld: (path: string) => boolean): Container | undefined {
  try {
    return readContainer(core.paths, id, lockIsHeld);
  } catch (error) {
    if (error instanceof TinyrunError && error.kind === 'internal') return undefined;
    throw error;
  }
}
