import type { NewNetwork } from '../../engine/index.ts';
import { networkRates, RATE_OPTIONS } from '../../network/bandwidth.ts';
import type { Command } from '../command.ts';
import { keyValues } from '../env-file.ts';
import { parseBool, parseInteger } from '../flag-values.ts';
import { FlagError, type Parsed } from '../parse.ts';

/** Options of Docker's bridge driver that mean something here. */
const MTU = 'com.docker.network.driver.mtu';
const BRIDGE = 'com.docker.network.bridge.name';
/** Those that ask for what is the case anyhow. */
const GIVEN: Readonly<Record<string, boolean>> = {
  'com.docker.network.bridge.enable_icc': true,
  'com.docker.network.bridge.enable_ip_masquerade': true,
};

export const networkCreate: Command = {
  name: 'network create',
  summary: 'Create a network',
  usage: '[OPTIONS] NETWORK',
  options: [
    { long: 'attachable', type: 'bool', help: 'Accepted, without effect: every network is', hidden: true },
    { long: 'driver', short: 'd', type: 'string', help: 'Driver to manage the Network (bridge)' },
    { long: 'gateway', type: 'list', help: 'IPv4 or IPv6 Gateway for the subnet' },
    { long: 'internal', type: 'bool', help: 'Restrict external access to the network' },
    { long: 'ip-range', type: 'string', help: 'Allocate container ip from a sub-range' },
    { long: 'ipv6', type: 'bool', help: 'Enable IPv6 networking (default: where the host has it)' },
    { long: 'label', type: 'list', help: 'Set metadata on a network' },
    { long: 'opt', short: 'o', type: 'list', value: 'map', help: 'Set driver specific options' },
    { long: 'subnet', type: 'list', help: 'Subnet in CIDR format that represents a network segment' },
  ],
  operands: { min: 1, max: 1 },
  async run({ context, parsed, engine: open }) {
    const request = networkRequestOf(parsed);
    const engine = await open();
    context.stdout.write(`${await engine.createNetwork(request)}\n`);
    return 0;
  },
};

/** @throws FlagError for values and combinations that cannot be */
export function networkRequestOf(parsed: Parsed): NewNetwork {
  const [name = ''] = parsed.operands;
  const [subnet, subnet6] = families(parsed.list('subnet'), 'subnet');
  const [gateway, gateway6] = families(parsed.list('gateway'), 'gateway');
  const range = parsed.string('ip-range');
  const options = keyValues(parsed.list('opt'));
  for (const [key, value] of Object.entries(options)) checkOption(key, value);
  const driver = parsed.string('driver');
  const given = {
    subnet,
    gateway,
    subnet6,
    gateway6,
    range,
    driver,
    mtu: options[MTU] === undefined ? undefined : parseInteger(options[MTU]),
    bridge: options[BRIDGE],
    ipv6: parsed.has('ipv6') ? parsed.bool('ipv6') : undefined,
  };
  return {
    name,
    ...(Object.fromEntries(
      Object.entries(given).filter(([, value]) => value !== undefined),
    ) as Partial<NewNetwork>),
    ...(parsed.bool('internal') ? { internal: true } : {}),
    labels: keyValues(parsed.list('label')),
    options,
  };
}

/** One value for each family of addresses. */
function families(texts: readonly string[], what: string): [string | undefined, string | undefined] {
  const [ipv4, more4] = texts.filter((text) => !text.includes(':'));
  const [ipv6, more6] = texts.filter((text) => text.includes(':'));
  if (more4 !== undefined || more6 !== undefined) {
    throw new FlagError(`a network has one ${what} of each family`);
  }
  return [ipv4, ipv6];
}

function checkOption(key: string, value: string): void {
  if (key === MTU) {
    if (!/^\d+$/.test(value) || Number(value) < 68 || Number(value) > 65535) {
      throw new FlagError(`invalid value for ${key}: ${value}`);
    }
    return;
  }
  if (key === BRIDGE) {
    if (!/^[a-zA-Z0-9_.-]{1,15}$/.test(value)) throw new FlagError(`invalid value for ${key}: ${value}`);
    return;
  }
  if (RATE_OPTIONS.includes(key)) {
    try {
      networkRates({ [key]: value });
    } catch (error) {
      throw new FlagError(`${key}: ${error instanceof Error ? error.message : String(error)}`);
    }
    return;
  }
  const expected = GIVEN[key];
  if (expected === undefined)
    throw new FlagError(`unknown option ${JSON.stringify(key)} of the driver "bridge"`);
  if (parseBool(value) !== expected) throw new FlagError(`${key}=${value} is not supported`);
}
