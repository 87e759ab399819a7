import { type Container, isUp } from './containers.ts';
import type { Core } from './core.ts';
import { emitEvent } from './events.ts';
import { listContainers } from './query.ts';
import { removeContainer } from './remove.ts';
import { treeSize } from './tree-size.ts';

export interface PrunedContainers {
  /** Ids. */
  readonly deleted: readonly string[];
  /** Bytes. */
  readonly reclaimed: number;
}

/** Removes all containers that do not run. @param matches of `--filter` */
export async function pruneContainers(
  core: Core,
  matches: (container: Container) => boolean,
): Promise<PrunedContainers> {
  const deleted: string[] = [];
  let reclaimed = 0;
  for (const container of await listContainers(core)) {
    if (isUp(container.status) || !matches(container)) continue;
    const size = await treeSize(core.paths.container(container.id));
    const { id, finish } = await removeContainer(core, container.id);
    await finish();
    deleted.push(id);
    reclaimed += size;
  }
  await emitEvent(core, { type: 'container', id: '', attributes: { reclaimed: String(reclaimed) } }, 'prune');
  return { deleted, reclaimed };
}
