/** The bridge networks of a store: their records, interfaces, firewall and leases, made when they are first used and when missing. */
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { makePrivateDirectory, readJson, writeJson } from '../disk/atomic.ts';
import type { Paths } from '../disk/paths.ts';
import { errorCode, TinyrunError } from '../errors.ts';
import { type Prefix, parseAddress, parsePrefix } from './addresses.ts';
import { hostInterfacePrefix } from './attachment.ts';
import {
  type BridgeNetwork,
  bridgeName,
  enableForwarding,
  findLink,
  hostHasIpv6,
  makeBridge,
  parseNetwork,
  removeBridge,
  surveyHost,
  userBridgeName,
} from './bridge.ts';
import { clashes, designNetwork, designUserNetwork, type NetworkWishes } from './design.ts';
import { firewallOf, isLoaded, removeTable, rulesetOf, tableName } from './firewall.ts';
import { forgetForeignRules, letThrough } from './foreign-firewall.ts';
import type { NetworkHost } from './host.ts';
import { leases, type Pool, reclaim, releaseAll } from './ipam.ts';
import { addElements } from './nfnetlink.ts';
import { publishedElements } from './published.ts';

export const DEFAULT_NETWORK = 'bridge';

/** A bridge that is up, with its firewall. */
export interface ReadyBridge {
  readonly network: BridgeNetwork;
  /** Of the bridge's interface. */
  readonly index: number;
  /** Name of the firewall's table; undefined where there is no firewall. */
  readonly table: string | undefined;
  /** For the user, where there is no firewall. */
  readonly warnings: readonly string[];
  readonly pool: Pool;
}

/** What a user asks of a new network. */
export interface NewBridge extends NetworkWishes {
  readonly name: string;
  /** Undefined: as the default network has it. */
  readonly ipv6?: boolean;
  /** Name of the bridge's interface, where the user wants a certain one. */
  readonly bridge?: string;
}

export interface Bridges {
  /** A network's bridge, made where it is missing. Two netlink requests where all is well. @throws TinyrunError `not_found` */
  ready(name: string): Promise<ReadyBridge>;
  /** By name, id or the beginning of an id. @throws TinyrunError `not_found`, `conflict` */
  find(text: string): BridgeNetwork;
  /** All that are recorded, by name. The default one is recorded when it is first used. */
  list(): BridgeNetwork[];
  /** Records a new network and makes its bridge. @throws TinyrunError `conflict` where the name is taken */
  create(request: NewBridge): Promise<BridgeNetwork>;
  /** Removes a network. @param isInUse asked under the lock that `ready` takes to make it */
  remove(name: string, isInUse: (network: BridgeNetwork) => boolean): Promise<void>;
  /** Address → container's id. */
  leases(name: string): Map<string, string>;
  /** Makes what is missing, and loads the firewall anew in any case, with the published ports of all running containers. */
  repair(): Promise<void>;
  reclaim(): number;
  forget(id: string): void;
  destroy(): Promise<void>;
}

export function openBridges(paths: Paths, host: NetworkHost): Bridges {
  const lockPath = `${paths.networks}.lock`;
  const read = (name: string): BridgeNetwork | undefined => readJson(paths.network(name), parseNetwork);
  const list = (): BridgeNetwork[] => recordedNames(paths).flatMap((name) => read(name) ?? []);
  const poolOf = (network: BridgeNetwork): Pool => ({
    network: network.name,
    directory: paths.leases(network.name),
    subnet: prefixOf(network.subnet),
    gateway: parseAddress(network.gateway) ?? new Uint8Array(4),
    ...(network.range === undefined ? {} : { range: prefixOf(network.range) }),
    // As long as there is a teardown file, somebody will run it, and that gives the lease back.
    isStale: (id) => !existsSync(paths.teardown(id)) && !host.lockIsHeld(paths.lock(id)),
    now: host.now,
  });

  /** What is there, or undefined where something is missing. */
  const look = (name: string): ReadyBridge | undefined => {
    const network = read(name);
    const link = network === undefined ? undefined : findLink(host, network.bridge);
    if (network === undefined || link === undefined || !link.up) return undefined;
    const firewall = firewallOf(paths.instance, network);
    if (!isLoaded(host, firewall)) return undefined;
    return { network, index: link.index, table: firewall.table, warnings: [], pool: poolOf(network) };
  };

  const find = (text: string): BridgeNetwork => {
    const networks = list();
    const exact = networks.find(({ name, id }) => name === text || id === text);
    if (exact !== undefined) return exact;
    const [first, ...more] = text === '' ? [] : networks.filter(({ id }) => id.startsWith(text));
    if (first === undefined) throw notFound(text);
    if (more.length > 0) {
      throw new TinyrunError(
        'conflict',
        `network ${text} is ambiguous (${more.length + 1} matches found on ID prefix)`,
      );
    }
    return first;
  };

  const settleDefault = (): BridgeNetwork => {
    const inUse = leases(paths.leases(DEFAULT_NETWORK)).size > 0;
    const others = list().filter(({ name }) => name !== DEFAULT_NETWORK);
    return settle(host, read(DEFAULT_NETWORK), { bridge: bridgeName(paths.instance), inUse, others });
  };

  const make = async (name: string): Promise<ReadyBridge> => {
    const network = name === DEFAULT_NETWORK ? settleDefault() : read(name);
    if (network === undefined) throw notFound(name);
    if (name === DEFAULT_NETWORK) writeJson(paths.network(name), network);
    const prefixes = [...leases(paths.leases(name)).values()].map((id) =>
      hostInterfacePrefix(id, network.id),
    );
    const index = makeBridge(host, network, (veth) => prefixes.some((prefix) => veth.startsWith(prefix)));
    enableForwarding(host, network);
    const pool = poolOf(network);
    const problem = await loadFirewall();
    if (problem !== undefined) return { network, index, table: undefined, warnings: [problem], pool };
    const table = tableName(paths.instance);
    const warnings = await letThrough(host, network.bridge, table);
    return { network, index, table, warnings, pool };
  };

  /** The rules of all networks, and the published ports of their containers. @returns why there is no firewall */
  const loadFirewall = async (): Promise<string | undefined> => {
    const networks = list();
    const problem = await load(host, rulesetOf(paths.instance, networks));
    if (problem !== undefined) return problem;
    // After the load: a container whose monitor is seen without its lock here will add its elements to the new table itself.
    const restored = networks.flatMap((network) =>
      // Without its teardown file it may be a start that comes to nothing: who would take the elements away?
      publishedElements(
        poolOf(network),
        network,
        (id) => host.lockIsHeld(paths.lock(id)) && existsSync(paths.teardown(id)),
      ),
    );
    if (restored.length > 0) host.netlink('netfilter', addElements(tableName(paths.instance), restored));
    return undefined;
  };

  const locked = <T>(action: () => Promise<T>): Promise<T> => {
    makePrivateDirectory(paths.networks);
    return host.withLock(lockPath, action);
  };

  return {
    ready: async (text) => {
      const found = look(text);
      if (found !== undefined) return found;
      const name = text === DEFAULT_NETWORK ? text : find(text).name;
      return look(name) ?? locked(async () => look(name) ?? make(name));
    },
    list,
    find,
    create: (request) =>
      locked(async () => {
        const { name } = request;
        if (read(name) !== undefined) {
          throw new TinyrunError('conflict', `network with name ${name} already exists`);
        }
        const others = list();
        const { routes, uplinkMtu } = surveyHost(host);
        const taken = others.flatMap((other) => prefixesOf(other));
        const input = {
          name,
          bridge: '',
          routes: [...routes, ...taken],
          ipv6: request.ipv6 ?? hostHasIpv6(host),
          uplinkMtu,
          random: host.random,
        };
        const designed = designUserNetwork(input, request, taken);
        const network = { ...designed, bridge: request.bridge ?? userBridgeName(designed.id) };
        if (findLink(host, network.bridge) !== undefined) {
          throw new TinyrunError('conflict', `the host has an interface "${network.bridge}" already`, {
            hint: 'Choose another name for the bridge, or leave the choice to tinyrun',
          });
        }
        writeJson(paths.network(name), network);
        await make(name);
        return network;
      }),
    remove: (name, isInUse) =>
      locked(async () => {
        const network = read(name);
        if (network === undefined) throw notFound(name);
        if (isInUse(network)) return;
        // The record last of all: whoever is killed here can be asked again.
        removeBridge(host, network.bridge);
        await forgetForeignRules(host, network.bridge);
        rmSync(paths.leases(name), { recursive: true, force: true });
        rmSync(paths.network(name), { force: true });
        if (findLink(host, bridgeName(paths.instance)) !== undefined || list().length > 0)
          await loadFirewall();
        else removeTable(host, tableName(paths.instance));
      }),
    leases: (name) => leases(paths.leases(name)),
    repair: async () => {
      await locked(async () => {
        const names = recordedNames(paths);
        for (const name of new Set([DEFAULT_NETWORK, ...names])) await make(name);
      });
    },
    reclaim: () => list().reduce((count, network) => count + reclaim(poolOf(network)), 0),
    forget: (id) => {
      for (const name of recordedNames(paths)) releaseAll(paths.leases(name), id);
    },
    destroy: () =>
      locked(async () => {
        const bridges = new Set([bridgeName(paths.instance), ...list().map(({ bridge }) => bridge)]);
        for (const bridge of bridges) {
          removeBridge(host, bridge);
          await forgetForeignRules(host, bridge);
        }
        removeTable(host, tableName(paths.instance));
        for (const name of new Set([DEFAULT_NETWORK, ...recordedNames(paths)])) {
          for (const path of [paths.leases(name), paths.network(name)])
            rmSync(path, { recursive: true, force: true });
        }
        rmSync(lockPath, { force: true });
      }),
  };
}

function notFound(name: string): TinyrunError {
  return new TinyrunError('not_found', `network ${name} not found`);
}

function recordedNames(paths: Paths): string[] {
  try {
    return readdirSync(paths.networks)
      .flatMap((file) => /^([a-zA-Z0-9][a-zA-Z0-9_.-]*)\.json$/.exec(file)?.[1] ?? [])
      .sort();
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return [];
    throw error;
  }
}

/** The record to make the network by: the one on disk, unless the host has changed and no container holds it to it. */
function settle(
  host: NetworkHost,
  recorded: BridgeNetwork | undefined,
  around: { readonly bridge: string; readonly inUse: boolean; readonly others: readonly BridgeNetwork[] },
): BridgeNetwork {
  const { bridge } = around;
  const exists = findLink(host, bridge) !== undefined;
  if (recorded !== undefined && (exists || around.inUse)) return recorded;
  // A bridge whose record is lost: its addresses would be in the way of every choice.
  if (exists) removeBridge(host, bridge);
  const survey = surveyHost(host);
  const routes = [...survey.routes, ...around.others.flatMap(prefixesOf)];
  const ipv6 = hostHasIpv6(host);
  const unchanged =
    recorded !== undefined &&
    !clashes(prefixOf(recorded.subnet), routes) &&
    (recorded.subnet6 !== undefined) === ipv6;
  if (unchanged) return recorded;
  const { uplinkMtu } = survey;
  return designNetwork({ name: DEFAULT_NETWORK, bridge, routes, ipv6, uplinkMtu, random: host.random });
}

/** @returns why there is no firewall, for the user */
async function load(host: NetworkHost, firewall: string): Promise<string | undefined> {
  try {
    await host.loadRuleset(firewall);
    return undefined;
  } catch (error) {
    if (!(error instanceof TinyrunError) || error.kind !== 'unsupported') throw error;
    const hint = error.hint === undefined ? '' : ` (${error.hint})`;
    return `${error.message}${hint}. Published ports work, but containers reach nothing beyond this host, and see every client with the host's address`;
  }
}

function prefixesOf({ subnet, subnet6 }: BridgeNetwork): Prefix[] {
  return [subnet, subnet6].flatMap((text) => parsePrefix(text ?? '') ?? []);
}

function prefixOf(text: string): Prefix {
  const prefix = parsePrefix(text);
  if (prefix === undefined)
    throw new TinyrunError('internal', `Cannot use the network: "${text}" is no prefix`);
  return prefix;
}
