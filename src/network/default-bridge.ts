/** The network `bridge` of a store: its record, its interface, its firewall and its leases, made at first use and when missing. */
import { existsSync, rmSync } from 'node:fs';
import { makePrivateDirectory, readJson, writeJson } from '../disk/atomic.ts';
import type { Paths } from '../disk/paths.ts';
import { TinyrunError } from '../errors.ts';
import { type Prefix, parseAddress, parsePrefix } from './addresses.ts';
import { hostInterfacePrefix } from './attachment.ts';
import {
  type BridgeNetwork,
  bridgeName,
  clashes,
  designNetwork,
  enableForwarding,
  findLink,
  hostHasIpv6,
  makeBridge,
  parseNetwork,
  removeBridge,
  surveyHost,
} from './bridge.ts';
import { firewallOf, isLoaded, removeTable, rulesetOf, tableName } from './firewall.ts';
import { forgetForeignRules, letThrough } from './foreign-firewall.ts';
import type { NetworkHost } from './host.ts';
import { leases, type Pool, reclaim, releaseAll } from './ipam.ts';
import { addElements } from './nfnetlink.ts';
import { publishedElements } from './published.ts';

const NAME = 'bridge';

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

export interface DefaultBridge {
  /** The bridge, made where it is missing. Two netlink requests where all is well. */
  ready(): Promise<ReadyBridge>;
  /** Makes what is missing, and loads the firewall anew in any case, with the published ports of all running containers. */
  repair(): Promise<void>;
  reclaim(): number;
  forget(id: string): void;
  destroy(): Promise<void>;
}

export function openDefaultBridge(paths: Paths, host: NetworkHost): DefaultBridge {
  const recordPath = paths.network(NAME);
  const lockPath = `${paths.networks}.lock`;
  const directory = paths.leases(NAME);
  const read = (): BridgeNetwork | undefined => readJson(recordPath, parseNetwork);
  const poolOf = (network: BridgeNetwork): Pool => ({
    directory,
    subnet: prefixOf(network.subnet),
    gateway: parseAddress(network.gateway) ?? new Uint8Array(4),
    // As long as there is a teardown file, somebody will run it, and that gives the lease back.
    isStale: (id) => !existsSync(paths.teardown(id)) && !host.lockIsHeld(paths.lock(id)),
    now: host.now,
  });

  /** What is there, or undefined where something is missing. */
  const look = (): ReadyBridge | undefined => {
    const network = read();
    const link = network === undefined ? undefined : findLink(host, network.bridge);
    if (network === undefined || link === undefined || !link.up) return undefined;
    const firewall = firewallOf(paths.instance, network);
    if (!isLoaded(host, firewall)) return undefined;
    return { network, index: link.index, table: firewall.table, warnings: [], pool: poolOf(network) };
  };

  const make = async (): Promise<ReadyBridge> => {
    const network = settle(host, read(), bridgeName(paths.instance), leases(directory).size > 0);
    writeJson(recordPath, network);
    const prefixes = [...leases(directory).values()].map(hostInterfacePrefix);
    const index = makeBridge(host, network, (name) => prefixes.some((prefix) => name.startsWith(prefix)));
    enableForwarding(host, network);
    const firewall = firewallOf(paths.instance, network);
    const pool = poolOf(network);
    const problem = await load(host, rulesetOf(firewall, network));
    if (problem !== undefined) return { network, index, table: undefined, warnings: [problem], pool };
    // After the load: a container whose monitor is seen without its lock here will add its elements to the new table itself.
    const restored = publishedElements(pool, network, (id) => host.lockIsHeld(paths.lock(id)));
    if (restored.length > 0) host.netlink('netfilter', addElements(firewall.table, restored));
    const warnings = await letThrough(host, network.bridge, firewall.table);
    return { network, index, table: firewall.table, warnings, pool };
  };

  const locked = <T>(action: () => Promise<T>): Promise<T> => {
    makePrivateDirectory(paths.networks);
    return host.withLock(lockPath, action);
  };

  return {
    ready: async () => look() ?? locked(async () => look() ?? make()),
    repair: async () => {
      await locked(make);
    },
    reclaim: () => {
      const network = read();
      return network === undefined ? 0 : reclaim(poolOf(network));
    },
    forget: (id) => releaseAll(directory, id),
    destroy: () =>
      locked(async () => {
        removeBridge(host, bridgeName(paths.instance));
        await forgetForeignRules(host, bridgeName(paths.instance));
        removeTable(host, tableName(paths.instance));
        for (const path of [directory, recordPath, lockPath]) rmSync(path, { recursive: true, force: true });
      }),
  };
}

/** The record to make the network by: the one on disk, unless the host has changed and no container holds it to it. */
function settle(
  host: NetworkHost,
  recorded: BridgeNetwork | undefined,
  bridge: string,
  inUse: boolean,
): BridgeNetwork {
  const exists = findLink(host, bridge) !== undefined;
  if (recorded !== undefined && (exists || inUse)) return recorded;
  // A bridge whose record is lost: its addresses would be in the way of every choice.
  if (exists) removeBridge(host, bridge);
  const { routes, uplinkMtu } = surveyHost(host);
  const ipv6 = hostHasIpv6(host);
  const unchanged =
    recorded !== undefined &&
    !clashes(prefixOf(recorded.subnet), routes) &&
    (recorded.subnet6 !== undefined) === ipv6;
  if (unchanged) return recorded;
  return designNetwork({ name: NAME, bridge, routes, ipv6, uplinkMtu, random: host.random });
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

function prefixOf(text: string): Prefix {
  const prefix = parsePrefix(text);
  if (prefix === undefined)
    throw new TinyrunError('internal', `Cannot use the network: "${text}" is no prefix`);
  return prefix;
}
