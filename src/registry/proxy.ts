import { TinyrunError } from '../errors.ts';

/** Environment variables as the front end hands them down. */
export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The proxy for a URL, or undefined to connect directly. Loopback is never proxied.
 * @see https://pkg.go.dev/golang.org/x/net/http/httpproxy#Config: Docker's rules
 */
export function proxyFor(url: URL, env: Environment): URL | undefined {
  if (isLoopback(url.hostname)) return undefined;
  const name = url.protocol === 'https:' ? 'HTTPS_PROXY' : 'HTTP_PROXY';
  const value = env[name] ?? env[name.toLowerCase()];
  if (value === undefined || value === '') return undefined;
  if (matchesNoProxy(url, env.NO_PROXY ?? env.no_proxy ?? '')) return undefined;
  return proxyUrl(value, name);
}

/** The value stays out of the errors: it may have a password in it. */
function proxyUrl(value: string, name: string): URL {
  const address = /^[a-z][a-z0-9+.-]*:\/\//i.test(value) ? value : `http://${value}`;
  if (!URL.canParse(address)) throw new TinyrunError('invalid', `Cannot use ${name}: it is no address`);
  const url = new URL(address);
  if (url.protocol === 'http:' || url.protocol === 'https:') return url;
  throw new TinyrunError(
    'unsupported',
    `Cannot use ${name}: it is a "${url.protocol}" proxy, expected "http:"`,
  );
}

/** `localhost`, 127.0.0.0/8 and ::1, as they stand in a URL or in a reference. */
export function isLoopback(hostname: string): boolean {
  const host = hostname.replace(/^\[|\]$/g, '').toLowerCase();
  return host === 'localhost' || host === '::1' || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(host);
}

function matchesNoProxy(url: URL, list: string): boolean {
  const host = url.hostname.replace(/^\[|\]$/g, '').toLowerCase();
  const port = url.port === '' ? (url.protocol === 'https:' ? '443' : '80') : url.port;
  return list
    .split(',')
    .map((entry) => entry.trim().toLowerCase())
    .filter((entry) => entry !== '')
    .some((entry) => matchesEntry(entry, host, port));
}

function matchesEntry(entry: string, host: string, port: string): boolean {
  if (entry === '*') return true;
  if (entry.includes('/')) return inBlock(host, entry);
  const bracketed = /^\[(.+)\](?::(\d+))?$/.exec(entry);
  const named = /^([^:]+):(\d+)$/.exec(entry);
  const name = bracketed?.[1] ?? named?.[1] ?? entry;
  const wantedPort = bracketed?.[2] ?? named?.[2];
  if (wantedPort !== undefined && wantedPort !== port) return false;
  // "example.com" covers its subdomains too, ".example.com" and "*.example.com" only those.
  if (name.startsWith('*.')) return host.endsWith(name.slice(1));
  if (name.startsWith('.')) return host.endsWith(name);
  return host === name || host.endsWith(`.${name}`);
}

/** An IPv4 block such as `10.0.0.0/8`. */
function inBlock(host: string, block: string): boolean {
  const [network = '', bits = ''] = block.split('/');
  const [address, base] = [ipv4(host), ipv4(network)];
  const length = Number(bits);
  if (address === undefined || base === undefined || !(length >= 0 && length <= 32)) return false;
  return length === 0 || address >>> (32 - length) === base >>> (32 - length);
}

function ipv4(text: string): number | undefined {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  if (match === null) return undefined;
  const octets = match.slice(1).map(Number);
  if (octets.some((octet) => octet > 255)) return undefined;
  return octets.reduce((value, octet) => value * 256 + octet, 0);
}
