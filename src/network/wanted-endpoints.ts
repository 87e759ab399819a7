/** The networks that a container asks for, checked. Pure. */
import type { EndpointRequest, NetworkRequest } from '../engine/options.ts';
import { TinyrunError } from '../errors.ts';
import { parseAddress, parseMac } from './addresses.ts';
import { DEFAULT_NETWORK } from './bridges.ts';

export interface WantedEndpoint {
  /** Name or id. */
  readonly network: string;
  readonly aliases: readonly string[];
  readonly ip: Uint8Array | undefined;
  readonly mac: Uint8Array | undefined;
}

/** In the order of the interfaces. @throws TinyrunError `invalid` */
export function wantedEndpoints(request: NetworkRequest): WantedEndpoint[] {
  return endpointsOf(request).map(checked);
}

function endpointsOf({ mode, aliases = [], ip, macAddress, more = [] }: NetworkRequest): EndpointRequest[] {
  const network = mode.type === 'bridge' ? mode.network : DEFAULT_NETWORK;
  const first = {
    network,
    aliases,
    ...(ip === undefined ? {} : { ip }),
    ...(macAddress === undefined ? {} : { macAddress }),
  };
  const all = [first, ...more];
  const names = new Set(all.map((one) => one.network));
  if (names.size === all.length) return all;
  throw new TinyrunError('invalid', 'a container can be on a network only once');
}

function checked({ network, aliases, ip, macAddress }: EndpointRequest): WantedEndpoint {
  return { network, aliases, ip: wantedAddress(ip), mac: wantedMac(macAddress) };
}

function wantedMac(text: string | undefined): Uint8Array | undefined {
  if (text === undefined) return undefined;
  const mac = parseMac(text);
  if (mac === undefined)
    throw new TinyrunError('invalid', `${JSON.stringify(text).slice(1, -1)} is not a valid mac address`);
  return mac;
}

function wantedAddress(text: string | undefined): Uint8Array | undefined {
  if (text === undefined) return undefined;
  const address = parseAddress(text);
  if (address?.length !== 4) {
    throw new TinyrunError('invalid', `invalid IPv4 address: ${JSON.stringify(text).slice(1, -1)}`);
  }
  return address;
}
