import type { Container } from './containers.ts';
import type { Core } from './core.ts';
import { type NetworkFacts, readSettings } from './network-facts.ts';
import { findContainer, listContainers } from './query.ts';

/** A row of `ps`. */
export interface ContainerSummary extends Container {
  readonly network?: NetworkFacts;
}

/** All containers with what they have published, newest first. */
export async function summarize(core: Core): Promise<ContainerSummary[]> {
  const containers = await listContainers(core);
  if (!containers.some(({ status }) => status === 'running')) return containers;
  const [{ withPaused }, { hostCgroups }] = await Promise.all([
    import('./pause.ts'),
    import('../cgroups/host.ts'),
  ]);
  const host = hostCgroups();
  return containers.map((container) => {
    if (container.status !== 'running') return container;
    const network = readSettings(core.paths, container.id);
    return withPaused(core, network === undefined ? container : { ...container, network }, host);
  });
}

/** One container as `ps` has it. @throws TinyrunError `not_found`, `conflict` (ambiguous prefix) */
export async function lookUp(core: Core, text: string): Promise<Container> {
  const container = await findContainer(core, text);
  return container.status === 'running'
    ? (await import('./pause.ts')).withPaused(core, container)
    : container;
}

/** Docker's NetworkSettings.Ports; empty for a container that does not run. @throws TinyrunError `not_found` */
export async function publishedPorts(core: Core, text: string): Promise<NetworkFacts['ports']> {
  const { id, status } = await findContainer(core, text);
  return status === 'running' ? (readSettings(core.paths, id)?.ports ?? {}) : {};
}
