import type { Container } from './containers.ts';
import type { Core } from './core.ts';
import { type NetworkFacts, readSettings } from './network-facts.ts';
import { listContainers } from './query.ts';

/** A row of `ps`. */
export interface ContainerSummary extends Container {
  readonly network?: NetworkFacts;
}

/** All containers with what they have published, newest first. */
export async function summarize(core: Core): Promise<ContainerSummary[]> {
  const containers = await listContainers(core);
  return containers.map((container) => {
    if (container.status !== 'running') return container;
    const network = readSettings(core.paths, container.id);
    return network === undefined ? container : { ...container, network };
  });
}
