import type { DeviceRequest, NetworkRequest } from '../engine/options.ts';
import { ipVersion } from './ip.ts';

/** `--device /dev/x[:/dev/y][:rwm]`. */
export function parseDevice(text: string): DeviceRequest {
  const parts = text.split(':');
  const [source = '', second, third] = parts;
  if (parts.length > 3 || source === '') throw new Error(`invalid device specification: ${text}`);
  if (!source.startsWith('/')) throw new Error(`${source} is not an absolute path`);
  if (second === undefined) return { source, target: source, access: 'rwm' };
  if (third === undefined && isAccess(second)) return { source, target: source, access: second };
  if (!second.startsWith('/')) throw new Error(`${second} is not an absolute path`);
  if (third !== undefined && !isAccess(third)) throw new Error(`bad mode specified: ${third}`);
  return { source, target: second, access: third ?? 'rwm' };
}

function isAccess(text: string): boolean {
  return /^[rwm]{1,3}$/.test(text) && new Set(text).size === text.length;
}

/** `--device-cgroup-rule 'c 42:* rmw'`. */
export function parseDeviceRule(text: string): string {
  if (/^[acb] ([0-9]+|\*):([0-9]+|\*) [rwm]{1,3}$/.test(text)) return text;
  throw new Error(`invalid device cgroup format '${text}'`);
}

const ULIMITS = new Set(
  'as core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending stack'.split(
    ' ',
  ),
);

/** `--ulimit nofile=1024[:2048]`; -1 is no limit. */
export function parseUlimit(text: string): { name: string; soft: number; hard: number } {
  const match = /^([^=]*)=([^:]*)(?::(.*))?$/.exec(text);
  if (match === null) throw new Error(`invalid ulimit argument: ${text}`);
  const [, name = '', softText = '', hardText = softText] = match;
  if (!ULIMITS.has(name)) throw new Error(`invalid ulimit type: ${name}`);
  const [soft, hard] = [softText, hardText].map((value) => {
    if (!/^(-1|[0-9]+|unlimited)$/.test(value)) {
      throw new Error(`strconv.ParseInt: parsing ${JSON.stringify(value)}: invalid syntax`);
    }
    return value === 'unlimited' ? -1 : Number(value);
  });
  if (soft === undefined || hard === undefined) throw new Error(`invalid ulimit argument: ${text}`);
  if (hard !== -1 && (soft === -1 || soft > hard)) {
    throw new Error(`ulimit soft limit must be less than or equal to hard limit: ${soft} > ${hard}`);
  }
  return { name, soft, hard };
}

/** `--sysctl net.ipv4.ip_forward=1`. */
export function parseSysctl(text: string): string {
  if (/^[A-Za-z0-9_./-]+=/.test(text) && !text.includes('..')) return text;
  throw new Error(`sysctl '${text}' is not allowed, expected KEY=VALUE`);
}

/** `--add-host name:address`, `name=address`, `name:host-gateway`; brackets around IPv6 vanish. */
export function parseAddHost(text: string): string {
  const match = /^([^:=\s]+)[:=](.+)$/.exec(text);
  const [, name, value = ''] = match ?? [];
  if (name === undefined) throw new Error(`bad format for add-host: ${JSON.stringify(text)}`);
  const address = value.replace(/^\[(.*)\]$/, '$1');
  if (address !== 'host-gateway' && ipVersion(address) === 0) {
    throw new Error(`invalid IP address in add-host: ${JSON.stringify(value)}`);
  }
  return `${name}:${address}`;
}

export function parseDns(text: string): string {
  if (ipVersion(text) === 0) throw new Error(`IP address is not correctly formatted: ${text}`);
  return text;
}

export function parseDnsSearch(text: string): string {
  if (text === '.' || /^([a-zA-Z0-9_]([a-zA-Z0-9_-]{0,62})\.?)+$/.test(text)) return text;
  throw new Error(`invalid domain: ${text}`);
}

export function parseMacAddress(text: string): string {
  if (/^([0-9a-fA-F]{2}[:-]){5}[0-9a-fA-F]{2}$/.test(text)) return text.toLowerCase().replaceAll('-', ':');
  throw new Error(`${text} is not a valid mac address`);
}

export function parseIpv4(text: string): string {
  if (ipVersion(text) !== 4) throw new Error(`invalid IPv4 address: ${text}`);
  return text;
}

/** `--network bridge|default|none|host|container:ID|NAME`. */
export function parseNetworkMode(text: string): NetworkRequest['mode'] {
  const name = /^name=/.test(text) ? text.slice('name='.length) : text;
  if (name === 'none' || name === 'host') return { type: name };
  if (name === 'bridge' || name === 'default' || name === '') return { type: 'bridge', network: 'bridge' };
  if (name.startsWith('container:')) {
    const container = name.slice('container:'.length);
    if (container === '') throw new Error('invalid container format container:<name|id>');
    return { type: 'container', container };
  }
  if (!/^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/.test(name)) throw new Error(`invalid network mode: ${text}`);
  return { type: 'bridge', network: name };
}

/** `--cap-add net_admin`, `CAP_NET_ADMIN`, `ALL`: canonical. Which exist is for the runtime to say. */
export function parseCapability(text: string): string {
  const name = text.trim().toUpperCase();
  if (name === 'ALL' || name === 'CAP_ALL') return 'ALL';
  const full = name.startsWith('CAP_') ? name : `CAP_${name}`;
  if (!/^CAP_[A-Z_]+$/.test(full)) throw new Error(`invalid capability: ${JSON.stringify(text)}`);
  return full;
}

/** `private`, the given other words, or an error that says which there are. */
export function oneOf<T extends string>(words: readonly T[], what: string): (text: string) => T {
  return (text) => {
    const word = words.find((candidate) => candidate === text);
    if (word !== undefined) return word;
    throw new Error(`${what}: expected ${words.join(', ')}`);
  };
}

/** The annotation `key=value`. */
export function parseAnnotation(text: string): string {
  if (/^[^=]+=/.test(text)) return text;
  throw new Error(`invalid annotation format: expected key=value`);
}
