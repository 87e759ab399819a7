import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { writeFileAtomic, writeJson } from '../disk/atomic.ts';
import { withLock } from '../disk/lock.ts';
import { TinyrunError } from '../errors.ts';
import { requestPorts } from '../native/ports-request.ts';
import { type Container, isUp } from './containers.ts';
import type { Core } from './core.ts';
import { containerEvent } from './events.ts';
import { readSettings, writeSettings } from './network-facts.ts';
import type { NetworkRequest, PortRequest } from './options.ts';
import { findContainer } from './query.ts';

export interface PortUpdate {
  readonly add: readonly PortRequest[];
  /** Of the host port 0: whatever it is published as. */
  readonly remove: readonly PortRequest[];
}

/**
 * Publishes more ports of a container, or fewer: now where it runs, and for all its starts. Connections that are there go on.
 * @throws TinyrunError `conflict` where a host port is taken; `invalid` for a port that is not published, or a network that
 *   publishes none. Nothing has changed then
 */
export function updatePorts(core: Core, text: string, update: PortUpdate): Promise<void> {
  return withLock(core.paths.recordsLock, 'exclusive', async () => {
    const container = await findContainer(core, text);
    const { id, record, name } = container;
    const { network } = record.options;
    if (network.mode.type !== 'bridge') {
      throw new TinyrunError(
        'invalid',
        `Cannot publish ports of container "${name}": it has the network mode "${network.mode.type}"`,
      );
    }
    const unknown = update.remove.find(
      (port) => !network.publish.flatMap(singles).some((one) => covers(port, one)),
    );
    if (unknown !== undefined) {
      throw new TinyrunError(
        'invalid',
        `Cannot unpublish port ${unknown.containerPort}/${unknown.protocol} of container "${name}": it is not published`,
      );
    }
    if (isUp(container.status)) await changeNow(core, container, update);
    const publish = publishedAfter(network.publish, update);
    const options = { ...record.options, network: { ...network, publish } };
    writeJson(core.paths.containerRecord(id), { ...record, options });
    await containerEvent(core, record, 'update');
  });
}

/** What later starts publish. */
export function publishedAfter(
  published: NetworkRequest['publish'],
  { add, remove }: PortUpdate,
): PortRequest[] {
  const left = published.flatMap((port) =>
    singles(port).some((one) => remove.some((gone) => covers(gone, one))) ? singles(port) : [port],
  );
  const kept = left.filter((port) => !remove.some((gone) => covers(gone, port)));
  const isNew = (port: PortRequest): boolean =>
    !kept.some((one) => JSON.stringify(one) === JSON.stringify(port));
  return [...kept, ...add.filter(isNew)];
}

/** A request port by port; one of the free ports of a range stays what it is. */
function singles(port: PortRequest): PortRequest[] {
  const count = port.containerPortEnd - port.containerPort + 1;
  if (count === 1) return [port];
  return Array.from({ length: count }, (_, at) => {
    const containerPort = port.containerPort + at;
    const hostPort = port.hostPort === 0 ? 0 : port.hostPort + at;
    return { ...port, hostPort, hostPortEnd: hostPort, containerPort, containerPortEnd: containerPort };
  });
}

interface Published {
  readonly protocol: string;
  readonly hostIp?: string;
  readonly hostPort: number;
  readonly containerPort: number;
}

/** Whether what is to go means this port. */
function covers(gone: PortRequest, port: Published): boolean {
  const at = port.containerPort - gone.containerPort;
  return (
    gone.protocol === port.protocol &&
    at >= 0 &&
    port.containerPort <= gone.containerPortEnd &&
    (gone.hostPort === 0 || port.hostPort === 0 || gone.hostPort + at === port.hostPort) &&
    (gone.hostIp === undefined || gone.hostIp === port.hostIp)
  );
}

function namesOf({ mode, more = [] }: NetworkRequest): string[] {
  const first = mode.type === 'bridge' ? [mode.network === 'default' ? 'bridge' : mode.network] : [];
  return [...first, ...more.map(({ network }) => network)];
}

async function changeNow(core: Core, { id, record }: Container, { add, remove }: PortUpdate): Promise<void> {
  const { paths } = core;
  const networks = await core.networks();
  // Whoever began a change and was killed: the firewall may lead where nobody listens.
  if (existsSync(paths.portsChanging(id))) await networks.repair();
  writeFileSync(paths.portsChanging(id), '', { mode: 0o600 });
  const ports = await networks
    .changePorts({
      id,
      networks: namesOf(record.options.network),
      add,
      removes: (binding) => remove.some((gone) => covers(gone, binding)),
      exposed: [...Object.keys(record.image.config.ExposedPorts ?? {}), ...record.options.network.expose],
      serve: async (lines) => {
        writeFileAtomic(paths.ports(id), lines, { durable: false });
        return requestPorts(paths.attachSocket(id));
      },
      keepRelease: (messages) => writeFileAtomic(paths.portsRelease(id), messages, { durable: false }),
    })
    .catch(async (error: unknown) => {
      // By the records, which are as they were.
      await networks.repair();
      rmSync(paths.portsChanging(id), { force: true });
      throw error;
    });
  const settings = readSettings(paths, id);
  if (settings !== undefined) writeSettings(paths, id, { ...settings, ports });
  rmSync(paths.portsChanging(id), { force: true });
}
