import { isIP } from 'node:net';
import { TinyrunError } from '../../errors.ts';

/** One word of EXPOSE. */
export interface ExposedPorts {
  /** `80/tcp`, as in the image config. */
  readonly ports: readonly string[];
  /** `80/TCP`. */
  readonly upperCase: boolean;
  /** `127.0.0.1:80:80`: taken, and warned of. */
  readonly mapped: boolean;
}

/**
 * `80`, `80/udp`, `8000-8010`, and the `[ip:][host:]container` of run, of which only the last part counts.
 * @param word expanded
 * @throws TinyrunError in BuildKit's words
 */
export function parseExposed(word: string): ExposedPorts {
  const parts = word.split(':');
  const container = parts.at(-1) ?? '';
  const host = parts.length > 1 ? (parts.at(-2) ?? '') : '';
  const address = parts.slice(0, -2).join(':');
  const slash = container.indexOf('/');
  const range = slash < 0 ? container : container.slice(0, slash);
  const protocol = slash < 0 ? '' : container.slice(slash + 1);
  if (range === '') throw invalid(`invalid port: ${JSON.stringify(word)}: no port specified`);
  if (!['', 'tcp', 'udp', 'sctp'].includes(protocol.toLowerCase()))
    throw invalid(`invalid port: ${JSON.stringify(word)}: invalid proto: ${protocol}`);
  if (address !== '' && isIP(address.replace(/^\[(.*)\]$/, '$1')) === 0)
    throw invalid(`invalid IP address: ${address}`);
  const [first, last] = rangeOf(range) ?? fail(`invalid containerPort: ${range}`);
  if (host !== '') {
    const [from, to] = rangeOf(host) ?? fail(`invalid hostPort: ${host}`);
    if (to - from !== last - first && first !== last)
      throw invalid(`invalid ranges specified for container and host Ports: ${range} and ${host}`);
  }
  const suffix = protocol === '' ? 'tcp' : protocol.toLowerCase();
  return {
    ports: Array.from({ length: last - first + 1 }, (_, index) => `${first + index}/${suffix}`),
    upperCase: protocol !== protocol.toLowerCase(),
    mapped: address !== '' || host !== '',
  };
}

function rangeOf(text: string): [number, number] | undefined {
  const [, from, to = from] = /^([0-9]{1,5})(?:-([0-9]{1,5}))?$/.exec(text) ?? [];
  if (from === undefined) return undefined;
  const [first, last] = [Number(from), Number(to)];
  return last > 65535 || first > last ? undefined : [first, last];
}

function fail(message: string): never {
  throw invalid(message);
}

function invalid(message: string): TinyrunError {
  return new TinyrunError('invalid', message);
}
