import { TinyrunError } from '../errors.ts';
import type { BridgeNetwork } from '../network/bridge.ts';
import type { NewBridge } from '../network/bridges.ts';
import type { Networks } from '../network/networks.ts';
import { timestamp } from './clock.ts';
import { type ContainerRecord, containerIds, readRecord } from './containers.ts';
import type { Core } from './core.ts';
import { emitEvent } from './events.ts';
import { readSettings } from './network-facts.ts';

export interface NewNetwork extends Omit<NewBridge, 'created'> {
  readonly driver?: string;
}

/** A network as `network ls` and `network inspect` show it. */
export interface NetworkView {
  readonly name: string;
  /** 64 hex digits. */
  readonly id: string;
  readonly driver: 'bridge' | 'host' | 'null';
  /** RFC 3339; empty where nobody has made it. */
  readonly created: string;
  /** Absent: `host` and `none`, which have no addresses. */
  readonly bridge?: BridgeNetwork;
  /** Containers that run on it. */
  readonly endpoints: readonly Endpoint[];
  /** Names of the containers that belong to it, also of those that do not run. */
  readonly users: readonly string[];
}

export interface Endpoint {
  readonly container: string;
  readonly name: string;
  readonly mac: string;
  /** With prefix length, `10.5.0.2/24`. */
  readonly ipv4: string;
  readonly ipv6: string;
}

/** Networks that are no bridges of ours: always there, and never removed. Their ids are their own. */
const MODES = [
  { name: 'host', driver: 'host', id: '686f7374'.padEnd(64, '0') },
  { name: 'none', driver: 'null', id: '6e6f6e65'.padEnd(64, '0') },
] as const;
const PREDEFINED: ReadonlySet<string> = new Set(['bridge', 'default', 'host', 'none']);

/** `network create`. @returns the id of the network */
export async function createNetwork(core: Core, request: NewNetwork): Promise<string> {
  const { name, driver = 'bridge' } = request;
  if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}$/.test(name)) {
    throw new TinyrunError(
      'invalid',
      `${JSON.stringify(name)} is invalid, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed`,
    );
  }
  if (PREDEFINED.has(name)) {
    throw new TinyrunError('conflict', `operation is not permitted on predefined ${name} network`);
  }
  if (driver !== 'bridge') {
    throw new TinyrunError('unsupported', `network driver ${JSON.stringify(driver)} is not supported`, {
      hint: 'There is the driver "bridge"; for the network of the host run with --network host',
    });
  }
  const made = await (await core.networks()).create({ ...request, created: timestamp() });
  await networkEvent(core, made, 'create');
  return made.id;
}

/** All networks, by name. */
export async function listNetworks(core: Core): Promise<NetworkView[]> {
  const networks = await withDefault(core);
  const records = readableRecords(core);
  const bridges = networks.list();
  const views = [
    ...bridges.map((bridge): NetworkView => viewOf(core, bridge, records)),
    ...MODES.map(
      (mode): NetworkView => ({
        ...mode,
        created: '',
        endpoints: [],
        users: usersOf(mode.name, mode.id, records),
      }),
    ),
  ];
  return views.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** @throws TinyrunError `not_found`, `conflict` */
export async function findNetwork(core: Core, text: string): Promise<NetworkView> {
  const mode = MODES.find(({ name, id }) => name === text || id === text);
  const records = readableRecords(core);
  if (mode !== undefined)
    return { ...mode, created: '', endpoints: [], users: usersOf(mode.name, mode.id, records) };
  const networks = await withDefault(core);
  return viewOf(core, networks.find(text === 'default' ? 'bridge' : text), records);
}

/** The default network is made when it is first used: whoever asks what there is uses it. */
async function withDefault(core: Core): Promise<Networks> {
  const networks = await core.networks();
  if (!networks.list().some(({ name }) => name === 'bridge')) await networks.repair();
  return networks;
}

/** @returns its name @throws TinyrunError `conflict` where a container is connected to it */
export async function removeNetwork(core: Core, text: string): Promise<string> {
  if (PREDEFINED.has(text)) {
    throw new TinyrunError('denied', `${text} is a pre-defined network and cannot be removed`);
  }
  const networks = await core.networks();
  const network = networks.find(text);
  if (network.name === 'bridge') {
    throw new TinyrunError('denied', 'bridge is a pre-defined network and cannot be removed');
  }
  await networks.remove(network.name, () => {
    const view = viewOf(core, network, readableRecords(core));
    const busy = networks.leases(network.name).size > 0;
    if (!busy) return false;
    const who = view.endpoints
      .map(({ name, container }) => `"${name}" (${container.slice(0, 12)})`)
      .join(', ');
    throw new TinyrunError(
      'conflict',
      `error while removing network: network ${network.name} has active endpoints`,
      {
        hint: who === '' ? 'A container is just starting on it' : `Stop first: ${who}`,
      },
    );
  });
  await networkEvent(core, network, 'destroy');
  return network.name;
}

/** Removes the networks that no container belongs to. @returns their names */
export async function pruneNetworks(
  core: Core,
  matches: (network: NetworkView) => boolean,
): Promise<string[]> {
  const deleted: string[] = [];
  for (const network of await listNetworks(core)) {
    if (PREDEFINED.has(network.name) || network.users.length > 0 || !matches(network)) continue;
    try {
      deleted.push(await removeNetwork(core, network.name));
    } catch (error) {
      // A container has just been started on it, or somebody else removed it.
      if (!(error instanceof TinyrunError) || !['conflict', 'not_found'].includes(error.kind)) throw error;
    }
  }
  return deleted;
}

function networkEvent(core: Core, { id, name }: BridgeNetwork, action: string): Promise<void> {
  return emitEvent(core, { type: 'network', id, attributes: { name, type: 'bridge' } }, action);
}

function viewOf(core: Core, bridge: BridgeNetwork, records: readonly ContainerRecord[]): NetworkView {
  const endpoints = records.flatMap((record): Endpoint[] => {
    const settings = readSettings(core.paths, record.id);
    const one = [settings, ...(settings?.more ?? [])].find((endpoint) => endpoint?.networkId === bridge.id);
    if (one === undefined) return [];
    return [
      {
        container: record.id,
        name: record.name,
        mac: one.mac ?? '',
        ipv4: `${one.ip}/${one.prefix}`,
        ipv6: one.ipv6 === undefined ? '' : `${one.ipv6}/${one.prefix6}`,
      },
    ];
  });
  return {
    name: bridge.name,
    id: bridge.id,
    driver: 'bridge',
    created: bridge.created ?? '',
    bridge,
    endpoints,
    users: usersOf(bridge.name, bridge.id, records),
  };
}

function usersOf(name: string, id: string, records: readonly ContainerRecord[]): string[] {
  const means = (text: string): boolean => text === name || (text.length >= 4 && id.startsWith(text));
  return records
    .filter(({ options: { network } }) => {
      const { mode, more = [] } = network;
      const first = mode.type === 'bridge' ? mode.network : mode.type;
      return [first, ...more.map((one) => one.network)].some(means);
    })
    .map((record) => record.name);
}

/** Damaged ones belong to no network any more. */
function readableRecords(core: Core): ContainerRecord[] {
  return containerIds(core.paths).flatMap((id) => {
    try {
      return readRecord(core.paths, id) ?? [];
    } catch (error) {
      if (error instanceof TinyrunError && error.kind === 'internal') return [];
      throw error;
    }
  });
}
