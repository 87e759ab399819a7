import type { EndpointRequest, NetworkRequest } from '../engine/options.ts';
import * as flags from './container-flags.ts';
import { FlagError, type Parsed } from './parse.ts';
import { ratesOf } from './rate-flags.ts';

/** One `--network`: a name or mode, or `name=NETWORK,alias=…,ip=…,mac-address=…` as CSV. */
interface Named {
  readonly mode: NetworkRequest['mode'];
  readonly aliases: readonly string[];
  readonly ip?: string;
  readonly macAddress?: string;
}

export function parseNetwork(text: string): Named {
  if (!/^[a-z-]+=/.test(text)) return { mode: flags.parseNetworkMode(text), aliases: [] };
  const aliases: string[] = [];
  const single = new Map<string, string>();
  for (const part of text.split(',')) {
    const equals = part.indexOf('=');
    const key = part.slice(0, Math.max(0, equals)).trim().toLowerCase();
    const value = part.slice(equals + 1).trim();
    if (equals < 0 || value === '') throw new Error(`invalid field ${part}`);
    if (key === 'alias') aliases.push(parseAlias(value));
    else if (['name', 'ip', 'mac-address'].includes(key)) single.set(key, value);
    else throw new Error(`invalid field key ${key}`);
  }
  const ip = single.get('ip');
  const mac = single.get('mac-address');
  return {
    mode: flags.parseNetworkMode(single.get('name') ?? 'default'),
    aliases,
    ...(ip === undefined ? {} : { ip: flags.parseIpv4(ip) }),
    ...(mac === undefined ? {} : { macAddress: flags.parseMacAddress(mac) }),
  };
}

/** A name by which others on a network find the container. */
export function parseAlias(text: string): string {
  if (/^[a-zA-Z0-9_]([a-zA-Z0-9_.-]{0,253}[a-zA-Z0-9_])?$/.test(text)) return text;
  throw new Error(`invalid network alias ${JSON.stringify(text)}`);
}

/** What `--network` (once or several times), `--network-alias`, `--ip` and `--mac-address` say together. */
export function networksOf(
  parsed: Parsed,
): Pick<NetworkRequest, 'mode' | 'aliases' | 'ip' | 'macAddress' | 'more' | 'rates'> {
  const [first = parseNetwork('default'), ...rest] = [
    ...parsed.each('network', parseNetwork),
    ...parsed.each('net', parseNetwork),
  ];
  const aliases = [...first.aliases, ...parsed.each('network-alias', parseAlias)];
  const ip = parsed.one('ip', flags.parseIpv4) ?? first.ip;
  const macAddress = parsed.one('mac-address', flags.parseMacAddress) ?? first.macAddress;
  const endpoints = [first, ...rest];
  if (endpoints.length > 1 && endpoints.some(({ mode }) => mode.type !== 'bridge')) {
    throw new FlagError(
      'conflicting options: cannot attach both user-defined and non-user-defined network-modes',
    );
  }
  if (first.mode.type !== 'bridge' && (aliases.length > 0 || ip !== undefined)) {
    throw new FlagError(
      `conflicting options: --network-alias and --ip need a network, not ${first.mode.type}`,
    );
  }
  const rates = ratesOf(parsed);
  if (first.mode.type !== 'bridge' && rates !== undefined) {
    throw new FlagError(
      `conflicting options: --net-in-rate, --net-out-rate and --net-burst need a network of its own, not ${first.mode.type}`,
    );
  }
  return {
    mode: first.mode,
    ...(aliases.length === 0 ? {} : { aliases }),
    ...(ip === undefined ? {} : { ip }),
    ...(macAddress === undefined ? {} : { macAddress }),
    ...(rates === undefined ? {} : { rates }),
    ...(rest.length === 0 ? {} : { more: rest.map(endpointOf) }),
  };
}

function endpointOf({ mode, ...endpoint }: Named): EndpointRequest {
  return { network: mode.type === 'bridge' ? mode.network : '', ...endpoint };
}
