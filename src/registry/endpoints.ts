import { errorCode, TinyrunError } from '../errors.ts';
import { RegistryError } from './errors.ts';
import type { Endpoint } from './mirrors.ts';
import { printable } from './printable.ts';
import { isLoopback } from './proxy.ts';
import { DEFAULT_REGISTRY } from './reference.ts';
import type { Transport } from './transport.ts';

/** Docker Hub's API is not where its name says. */
const HUB_API = 'registry-1.docker.io';

/** How to reach a registry. */
export interface Base {
  /** Origin, such as `https://registry-1.docker.io`. */
  readonly url: URL;
  /** Whether the certificate may be anything. */
  readonly insecure: boolean;
}

/**
 * Finds out once per registry whether it speaks TLS. Anything but https is out of the question unless the host is loopback
 * or configured as insecure; a certificate of a loopback registry is verified like any other (CVE-2025-6032).
 * @param insecureAlways the user's word for every registry
 */
export function openEndpoints(
  transport: Transport,
  insecureAlways: boolean,
): (endpoint: Endpoint) => Promise<Base> {
  const bases = new Map<string, Promise<Base>>();
  return (endpoint) => {
    const insecure = endpoint.insecure || insecureAlways;
    const key = `${endpoint.host} ${insecure}`;
    const known = bases.get(key);
    if (known !== undefined) return known;
    const found = findBase(endpoint.host, insecure, transport);
    bases.set(key, found);
    // A registry that could not be reached is asked anew by the next attempt.
    found.catch(() => bases.delete(key));
    return found;
  };
}

async function findBase(host: string, insecure: boolean, transport: Transport): Promise<Base> {
  const at = (scheme: 'http' | 'https'): Base => ({ url: baseUrl(scheme, host), insecure });
  const isNear = isLoopback(baseUrl('http', host).hostname);
  if (!insecure && !isNear) return at('https');
  // Nearly all loopback registries are plain, and a misdirected TLS greeting costs them an error in their log.
  const [first, second] = isNear ? [at('http'), at('https')] : [at('https'), at('http')];
  const error = await probe(first, transport);
  if (error === undefined) return first;
  const other = await probe(second, transport);
  if (other === undefined) return second;
  // The scheme that was understood has the more useful complaint, such as an unknown authority.
  throw other.kind === 'denied' ? other : error;
}

/** Why the registry does not speak this scheme; undefined where it answered anything sensible. */
async function probe({ url, insecure }: Base, transport: Transport): Promise<RegistryError | undefined> {
  try {
    const reply = await transport.send({ method: 'GET', url: new URL('/v2/', url), headers: {}, insecure });
    if (url.protocol === 'http:' && reply.status === 400) {
      // "Client sent an HTTP request to an HTTPS server", says Go with this status.
      return await reply.error();
    }
    reply.discard();
    return undefined;
  } catch (error) {
    if (!(error instanceof RegistryError)) throw error;
    // A timeout says nothing about the scheme, and asking again would wait as long again.
    if (errorCode(error.cause) !== undefined) return error;
    throw error;
  }
}

function baseUrl(scheme: 'http' | 'https', host: string): URL {
  const network = host === DEFAULT_REGISTRY ? HUB_API : host;
  try {
    return new URL(`${scheme}://${network}/`);
  } catch {
    throw new TinyrunError(
      'invalid',
      `Cannot use registry "${printable(host, 100)}": it is no host with a port`,
    );
  }
}
