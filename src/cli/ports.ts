import type { PortRequest } from '../engine/options.ts';
import { ipVersion } from './ip.ts';

/**
 * One `-p`: `[ip:][hostPort[-end]]:containerPort[-end][/proto]`, or `containerPort`, or the long form
 * `published=8080,target=80,protocol=udp`. IPv6 addresses stand in brackets.
 * @see https://github.com/docker/go-connections/blob/main/nat/nat.go (ParsePortSpec)
 */
export function parsePublish(text: string): PortRequest {
  if (/^[a-z_]+=/.test(text)) return longForm(text);
  const { protocol, rest } = splitProtocol(text);
  const { ip, host, container } = splitAddress(rest);
  if (container === '') throw new Error(`no port specified: ${text}<empty>`);
  const containerRange = parseRange(container, 'containerPort');
  const hostRange = host === '' ? { start: 0, end: 0 } : parseRange(host, 'hostPort', 0);
  return request({ protocol, ip, hostRange, containerRange, text });
}

/** `--expose 80/tcp`, `--expose 80-90`: canonical `port/proto`, one for each port. */
export function parseExpose(text: string): string[] {
  const { protocol, rest } = splitProtocol(text);
  let range: Range;
  try {
    range = parseRange(rest, 'port');
  } catch (cause) {
    throw new Error(`invalid range format for --expose: ${text}`, { cause });
  }
  const ports: string[] = [];
  for (let port = range.start; port <= range.end; port += 1) ports.push(`${port}/${protocol}`);
  return ports;
}

interface Range {
  readonly start: number;
  readonly end: number;
}

type Protocol = 'tcp' | 'udp';

function splitProtocol(text: string): { protocol: Protocol; rest: string } {
  const slash = text.lastIndexOf('/');
  if (slash < 0) return { protocol: 'tcp', rest: text };
  return { protocol: protocolOf(text.slice(slash + 1)), rest: text.slice(0, slash) };
}

function protocolOf(text: string): Protocol {
  const name = text.toLowerCase();
  if (name === 'tcp' || name === 'udp') return name;
  if (name === 'sctp') throw new Error('sctp is not supported, expected tcp or udp');
  throw new Error(`invalid proto: ${text}`);
}

function splitAddress(text: string): { ip: string; host: string; container: string } {
  const bracket = /^\[([^\]]*)\]:(.*)$/.exec(text);
  const parts = (bracket?.[2] ?? text).split(':');
  const container = parts.pop() ?? '';
  const host = parts.pop() ?? '';
  const ip = bracket?.[1] ?? parts.join(':');
  if (bracket !== null && parts.length > 0) throw new Error(`invalid IP address: ${text}`);
  if (ip !== '' && ipVersion(ip) === 0) throw new Error(`invalid IP address: ${ip}`);
  return { ip, host, container };
}

function parseRange(text: string, what: string, lowest = 1): Range {
  const [first = '', last, ...more] = text.split('-');
  const start = portNumber(first, lowest);
  const end = last === undefined ? start : portNumber(last, lowest);
  if (start === undefined || end === undefined || end < start || more.length > 0) {
    throw new Error(`invalid ${what}: ${text}`);
  }
  return { start, end };
}

function portNumber(text: string, lowest: number): number | undefined {
  const port = Number(text);
  return /^[0-9]{1,5}$/.test(text) && port >= lowest && port <= 65_535 ? port : undefined;
}

function longForm(text: string): PortRequest {
  const fields = new Map<string, string>();
  for (const part of text.split(',')) {
    const equals = part.indexOf('=');
    if (equals < 0) throw new Error(`invalid field: ${part}`);
    fields.set(part.slice(0, equals).toLowerCase(), part.slice(equals + 1));
  }
  for (const key of fields.keys()) {
    if (!['protocol', 'mode', 'target', 'published', 'host_ip'].includes(key)) {
      throw new Error(`invalid field key ${key}`);
    }
  }
  const target = fields.get('target');
  if (target === undefined) throw new Error('missing mandatory field "target"');
  return request({
    protocol: protocolOf(fields.get('protocol') ?? 'tcp'),
    ip: fields.get('host_ip') ?? '',
    hostRange: parseRange(fields.get('published') ?? '0', 'hostPort', 0),
    containerRange: parseRange(target, 'containerPort'),
    text,
  });
}

function request(parts: {
  protocol: Protocol;
  ip: string;
  hostRange: Range;
  containerRange: Range;
  text: string;
}): PortRequest {
  const { hostRange, containerRange } = parts;
  const hostLength = hostRange.end - hostRange.start;
  const containerLength = containerRange.end - containerRange.start;
  // A range of host ports for one container port means any of them; nothing else may differ in length.
  if (hostRange.start !== 0 && hostLength !== containerLength && containerLength !== 0) {
    throw new Error(`invalid ranges specified for container and host Ports: ${parts.text}`);
  }
  return {
    protocol: parts.protocol,
    ...(parts.ip === '' ? {} : { hostIp: parts.ip }),
    hostPort: hostRange.start,
    hostPortEnd: hostRange.end,
    containerPort: containerRange.start,
    containerPortEnd: containerRange.end,
  };
}
