/**
 * Texts of /etc/hosts, /etc/hostname and /etc/resolv.conf for containers. Pure. Every value that comes from outside is checked:
 * a line break in it would be a line of its own in the file (CVE-2026-15809).
 */
import { TinyrunError } from '../errors.ts';
import { formatAddress, isLoopback, parseAddress } from './addresses.ts';

/** systemd-resolved's list of the real servers, where /etc/resolv.conf names only its stub 127.0.0.53. */
export const RESOLVED_CONF = '/run/systemd/resolve/resolv.conf';

const STANDARD_HOSTS = `127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
`;

/** Docker's choice where the host has no server that a container could reach. */
const PUBLIC_NAMESERVERS = ['8.8.8.8', '8.8.4.4'];

export interface HostsInput {
  /** The container's addresses, as text. */
  readonly addresses: readonly string[];
  readonly hostname: string;
  readonly domainname?: string;
  /** `name:address` or `name:host-gateway`; `=` instead of the first colon too. */
  readonly extraHosts: readonly string[];
  /** What `host-gateway` stands for. */
  readonly hostGateway?: string;
  /** The host's own file, for containers in the host's network; else Docker's standard lines. */
  readonly base?: string;
}

/** @throws TinyrunError `invalid` for an extra host or a hostname that cannot be */
export function hostsFile(input: HostsInput): string {
  const hostname = checkName(input.hostname, 'hostname');
  const lines = input.extraHosts.map((text) => {
    const { name, address } = parseExtraHost(text, input.hostGateway);
    return `${address}\t${name}\n`;
  });
  const domainname = input.domainname ?? '';
  const names =
    domainname === '' ? hostname : `${hostname}.${checkName(domainname, 'domainname')} ${hostname}`;
  for (const address of input.addresses) lines.push(`${address}\t${names}\n`);
  const base = input.base ?? STANDARD_HOSTS;
  return `${base}${base === '' || base.endsWith('\n') ? '' : '\n'}${lines.join('')}`;
}

export function hostnameFile(hostname: string): string {
  return `${checkName(hostname, 'hostname')}\n`;
}

export interface ResolvInput {
  /** The host's /etc/resolv.conf; undefined where it has none. */
  readonly host: string | undefined;
  /** Text of `RESOLVED_CONF`, if there is one; asked only where it matters. */
  readonly resolved: () => string | undefined;
  /** `--dns`, `--dns-search` (`.`: none), `--dns-option`: each, if given, replaces what the host has. */
  readonly dns: readonly string[];
  readonly dnsSearch: readonly string[];
  readonly dnsOptions: readonly string[];
  /** Whether the container reaches IPv6 servers. */
  readonly ipv6: boolean;
  /** The container is in the host's network namespace, where the host's stub answers too. */
  readonly sameNetwork: boolean;
  /** The container has a resolver of its own, which asks those servers. */
  readonly ownResolver?: boolean;
}

/** Where a container's own resolver answers, as in Docker. */
export const RESOLVER_ADDRESS = '127.0.0.11';

/** @throws TinyrunError `invalid` for a server, domain or option that cannot be */
export function resolvFile(input: ResolvInput): string {
  const given = input.dns.map(checkNameserver);
  const host = hostResolv(input);
  const reachable = input.sameNetwork
    ? host.nameservers
    : host.nameservers.filter((server) => isReachable(server, input.ipv6));
  const nameservers =
    input.ownResolver === true
      ? [RESOLVER_ADDRESS]
      : ([given, reachable, PUBLIC_NAMESERVERS].find((list) => list.length > 0) ?? []);
  const search =
    input.dnsSearch.length === 0
      ? host.search
      : input.dnsSearch
          .filter((domain) => domain !== '.')
          .map((domain) => checkName(domain, 'DNS search domain'));
  const options =
    input.dnsOptions.length === 0
      ? [...host.options]
      : input.dnsOptions.map((option) => checkName(option, 'DNS option'));
  // One question for both families, and names without a dot are asked for as they are.
  if (input.ownResolver === true && !options.some((option) => option.startsWith('ndots:')))
    options.push('ndots:0');
  const lines = nameservers.map((server) => `nameserver ${server}`);
  if (search.length > 0) lines.push(`search ${search.join(' ')}`);
  if (options.length > 0) lines.push(`options ${options.join(' ')}`);
  return `${lines.join('\n')}\n`;
}

/** @throws TinyrunError `invalid`, in Docker's words */
export function parseExtraHost(
  text: string,
  hostGateway: string | undefined,
): { name: string; address: string } {
  const match = /^([^:=\s]+)[:=](.+)$/s.exec(text);
  if (match?.[1] === undefined || match[2] === undefined) {
    throw new TinyrunError('invalid', `bad format for add-host: "${printable(text)}"`);
  }
  const name = checkName(match[1], 'host name');
  if (match[2] === 'host-gateway') {
    if (hostGateway === undefined) {
      throw new TinyrunError(
        'invalid',
        `Cannot add the host "${name}": this network has no gateway to the host`,
      );
    }
    return { name, address: hostGateway };
  }
  const address = parseAddress(match[2].replace(/^\[(.*)\]$/, '$1'));
  if (address === undefined) {
    throw new TinyrunError('invalid', `invalid IP address in add-host: "${printable(match[2])}"`);
  }
  return { name, address: formatAddress(address) };
}

interface Resolv {
  readonly nameservers: readonly string[];
  readonly search: readonly string[];
  readonly options: readonly string[];
}

/** resolv.conf(5): the last `search` or `domain` counts, options add up. */
function parseResolv(text: string): Resolv {
  const nameservers: string[] = [];
  const options: string[] = [];
  let search: string[] = [];
  for (const line of text.split('\n')) {
    const [keyword, ...values] = line
      .replace(/[#;].*$/, '')
      .trim()
      .split(/\s+/);
    if (keyword === 'nameserver' && values[0] !== undefined) nameservers.push(values[0]);
    else if (keyword === 'search' || keyword === 'domain') search = values.filter((value) => value !== '.');
    else if (keyword === 'options') options.push(...values);
  }
  return { nameservers, search, options };
}

/** A stub on a loopback address cannot be reached from another network namespace. */
function hostResolv(input: ResolvInput): Resolv {
  const own = parseResolv(input.host ?? '');
  const stubOnly = own.nameservers.length > 0 && own.nameservers.every(isStub);
  const resolved = stubOnly && !input.sameNetwork ? input.resolved() : undefined;
  return resolved === undefined ? own : parseResolv(resolved);
}

function isStub(server: string): boolean {
  const address = parseAddress(server);
  return address !== undefined && isLoopback(address);
}

/** Not: loopback, zones such as `fe80::1%eth0` (they name an interface of the host), IPv6 without IPv6. */
function isReachable(server: string, ipv6: boolean): boolean {
  const address = parseAddress(server);
  return address !== undefined && !isLoopback(address) && (ipv6 || address.length === 4);
}

function checkNameserver(server: string): string {
  const address = parseAddress(server);
  if (address === undefined) throw new TinyrunError('invalid', `${printable(server)} is not an ip address`);
  return formatAddress(address);
}

/** One word without anything that a parser of these files could take for something else. */
function checkName(name: string, what: string): string {
  // Printable ASCII, so no other alphabet's spaces and line breaks either. Not `\p{C}`: building that class takes 4 ms.
  if (name === '' || name.length > 255 || !/^[!-~]+$/.test(name) || /[#;,/\\]/.test(name)) {
    throw new TinyrunError(
      'invalid',
      `Cannot use the ${what} "${printable(name)}": it has characters that are not allowed`,
    );
  }
  return name;
}

function printable(text: string): string {
  return JSON.stringify(text.slice(0, 100)).slice(1, -1);
}
