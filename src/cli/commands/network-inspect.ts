import type { NetworkView } from '../../engine/index.ts';
import type { Command } from '../command.ts';
import { forEach } from '../for-each.ts';
import { templateOf } from '../format.ts';

export const networkInspect: Command = {
  name: 'network inspect',
  summary: 'Display detailed information on one or more networks',
  usage: '[OPTIONS] NETWORK [NETWORK...]',
  options: [
    { long: 'format', short: 'f', type: 'string', help: 'Format output using a Go template, or "json"' },
    { long: 'verbose', short: 'v', type: 'bool', help: 'Accepted, without effect', hidden: true },
  ],
  operands: { min: 1 },
  async run({ context, parsed, engine: open }) {
    const engine = await open();
    const format = parsed.string('format');
    const template = format === undefined || format === '' ? undefined : templateOf(format);
    const found: unknown[] = [];
    const code = await forEach(context, parsed.operands, async (name) => {
      const value = inspection(await engine.network(name));
      if (template === undefined) found.push(value);
      else context.stdout.write(`${template(value)}\n`);
    });
    if (template === undefined) context.stdout.write(`${JSON.stringify(found, null, 4)}\n`);
    return code;
  },
};

/** Docker's JSON of a network. */
function inspection({ name, id, driver, created, bridge, endpoints }: NetworkView): unknown {
  const pools = [
    { Subnet: bridge?.subnet, IPRange: bridge?.range, Gateway: bridge?.gateway },
    { Subnet: bridge?.subnet6, Gateway: bridge?.gateway6 },
  ].filter(({ Subnet }) => Subnet !== undefined);
  return {
    Name: name,
    Id: id,
    Created: created,
    Scope: 'local',
    Driver: driver,
    EnableIPv4: bridge !== undefined,
    EnableIPv6: bridge?.subnet6 !== undefined,
    IPAM: { Driver: 'default', Options: null, Config: pools },
    Internal: bridge?.internal === true,
    Attachable: false,
    Ingress: false,
    ConfigOnly: false,
    Containers: Object.fromEntries(
      endpoints.map((endpoint) => [
        endpoint.container,
        {
          Name: endpoint.name,
          MacAddress: endpoint.mac,
          IPv4Address: endpoint.ipv4,
          IPv6Address: endpoint.ipv6,
        },
      ]),
    ),
    Options: {
      ...(bridge === undefined
        ? {}
        : {
            'com.docker.network.bridge.name': bridge.bridge,
            'com.docker.network.driver.mtu': String(bridge.mtu),
          }),
      ...bridge?.options,
    },
    Labels: bridge?.labels ?? {},
  };
}
