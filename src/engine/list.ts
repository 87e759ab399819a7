import type { Container } from './containers.ts';
import type { Core } from './core.ts';
import type { HealthRecord } from './health.ts';
import { type NetworkFacts, readSettings } from './network-facts.ts';
import { findContainer, listContainers } from './query.ts';

/** A row of `ps`. */
export interface ContainerSummary extends Container {
  readonly network?: NetworkFacts;
  /** Where it runs and has a health check. */
  readonly health?: HealthRecord['status'];
  /** Bytes, where they were asked for: what it wrote, and with its image. */
  readonly size?: { readonly own: number; readonly virtual: number };
}

export interface ListHow {
  /** Also how much of the disk each takes: walks all their files. */
  readonly size?: boolean;
}

/** All containers with what they have published, newest first. */
export async function summarize(core: Core, how: ListHow = {}): Promise<ContainerSummary[]> {
  const containers = await withFacts(core, await listContainers(core));
  return how.size === true ? withSizes(core, containers) : containers;
}

async function withSizes(core: Core, containers: readonly ContainerSummary[]): Promise<ContainerSummary[]> {
  const { treeSize } = await import('./tree-size.ts');
  const images = new Map((await core.store()).list().map(({ id, size }) => [id, size]));
  return Promise.all(
    containers.map(async (container) => {
      const own = await treeSize(core.paths.upper(container.id));
      const virtual = own + (images.get(container.record.image.id) ?? 0);
      return { ...container, size: { own, virtual } };
    }),
  );
}

async function withFacts(core: Core, containers: Container[]): Promise<ContainerSummary[]> {
  if (!containers.some(({ status }) => status === 'running')) return containers;
  const [{ withPaused }, { hostCgroups }, { unifiedBase }, { readHealth }] = await Promise.all([
    import('./pause.ts'),
    import('../cgroups/host.ts'),
    import('../cgroups/plan.ts'),
    import('./health.ts'),
  ]);
  const host = hostCgroups();
  const base = host.unified === undefined ? undefined : unifiedBase(host);
  return containers.map((container) => {
    if (container.status !== 'running') return container;
    const network = readSettings(core.paths, container.id);
    const health = hasHealth(container) ? readHealth(core, container)?.status : undefined;
    const summary = {
      ...container,
      ...(network === undefined ? {} : { network }),
      ...(health === undefined ? {} : { health }),
    };
    return withPaused(core, summary, host, base);
  });
}

function hasHealth({ record: { options, image } }: Container): boolean {
  return options.healthcheck !== undefined || image.config.Healthcheck !== undefined;
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
