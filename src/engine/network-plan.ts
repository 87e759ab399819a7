import { readFileSync } from 'node:fs';
import { TinyrunError } from '../errors.ts';
import type { NetworkPlan } from '../network/networks.ts';
import { type ContainerRecord, readContainer, resolveId } from './containers.ts';
import type { Core } from './core.ts';
import type { CreateOptions } from './options.ts';

/** What the container's network takes, by its options and by what the image exposes. */
export async function planNetwork(core: Core, record: ContainerRecord): Promise<NetworkPlan> {
  const { options } = record;
  const networks = await core.networks();
  const lockIsHeld = await core.lockIsHeld();
  return networks.plan({
    id: record.id,
    name: record.name,
    hostname: hostnameOf(core, record),
    ...(options.domainname === undefined ? {} : { domainname: options.domainname }),
    request: options.network,
    releasePath: core.paths.portsRelease(record.id),
    rateFiles: { set: core.paths.rates(record.id), release: core.paths.ratesRelease(record.id) },
    exposed: Object.keys(record.image.config.ExposedPorts ?? {}),
    containerNamespace: (text) => runningContainer(core, text, lockIsHeld),
  });
}

/** The name that the container has where `--hostname` is not given. */
export function hostnameOf(core: Core, record: ContainerRecord): string {
  const { options } = record;
  if (options.hostname !== undefined) return options.hostname;
  const { mode } = options.network;
  if (mode.type === 'host' || options.utsMode === 'host') {
    return readFileSync('/proc/sys/kernel/hostname', 'utf8').trim();
  }
  if (mode.type !== 'container') return record.id.slice(0, 12);
  const other = resolveId(core.paths, mode.container);
  return readFileSync(core.paths.etcFile(other, 'hostname'), 'utf8').trim();
}

/**
 * The namespaces of other containers that one shares.
 * @throws TinyrunError `not_found`, `conflict` where the other does not run
 */
export async function joinedNamespaces(
  core: Core,
  { pidMode, ipcMode }: CreateOptions,
): Promise<{ pid?: string; ipc?: string; mount?: string }> {
  const lockIsHeld = await core.lockIsHeld();
  const directoryOf = (mode: string, what: string): string | undefined => {
    if (!mode.startsWith('container:')) return undefined;
    return `/proc/${runningContainer(core, mode.slice('container:'.length), lockIsHeld, what).pid}/ns`;
  };
  const [pid, ipc] = [directoryOf(pidMode, 'PID'), directoryOf(ipcMode, 'IPC')];
  return {
    ...(pid === undefined ? {} : { pid: `${pid}/pid` }),
    ...(ipc === undefined ? {} : { ipc: `${ipc}/ipc`, mount: `${ipc}/mnt` }),
  };
}

function runningContainer(
  core: Core,
  text: string,
  lockIsHeld: (path: string) => boolean,
  what = 'network',
): { pid: number; id: string } {
  const id = resolveId(core.paths, text);
  const container = readContainer(core.paths, id, lockIsHeld);
  if (container === undefined) throw new TinyrunError('not_found', `No such container: ${text}`);
  if (container.status !== 'running' || container.state === undefined) {
    throw new TinyrunError('conflict', `cannot join ${what} of a non running container: ${id}`);
  }
  return { pid: container.state.pid, id };
}
