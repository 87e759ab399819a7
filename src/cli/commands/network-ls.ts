import type { NetworkView } from '../../engine/index.ts';
import type { Command } from '../command.ts';
import { filterPair } from '../filter-pair.ts';
import { formatRows } from '../format.ts';
import { networkFilter } from '../network-filter.ts';

const FILTERS = ['dangling', 'driver', 'id', 'label', 'name', 'scope', 'type'];
const COLUMNS = {
  headings: {
    ID: 'NETWORK ID',
    Name: 'NAME',
    Driver: 'DRIVER',
    Scope: 'SCOPE',
    IPv6: 'IPV6',
    Internal: 'INTERNAL',
    Labels: 'LABELS',
    CreatedAt: 'CREATED AT',
  },
  table: '{{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}',
} as const;

export const networkLs: Command = {
  name: 'network ls',
  summary: 'List networks',
  usage: '[OPTIONS]',
  options: [
    {
      long: 'filter',
      short: 'f',
      type: 'list',
      value: 'filter',
      help: 'Provide filter values (such as "driver=bridge")',
    },
    { long: 'format', type: 'string', help: 'Format output using a Go template, "table TEMPLATE" or "json"' },
    { long: 'no-trunc', type: 'bool', help: 'Do not truncate the output' },
    { long: 'quiet', short: 'q', type: 'bool', help: 'Only display network IDs' },
  ],
  operands: { min: 0, max: 0 },
  async run({ context, parsed, engine: open }) {
    const matches = networkFilter(parsed.each('filter', filterPair), FILTERS);
    const engine = await open();
    const networks = (await engine.networks()).filter(matches);
    const format = parsed.bool('quiet') ? '{{.ID}}' : parsed.string('format');
    const fields = networkFields(!parsed.bool('no-trunc'));
    context.stdout.write(formatRows(networks, format, { ...COLUMNS, fields }));
    return 0;
  },
};

function networkFields(
  truncate: boolean,
): (network: NetworkView) => Readonly<Record<keyof (typeof COLUMNS)['headings'], string>> {
  return ({ id, name, driver, bridge, created }) => ({
    ID: truncate ? id.slice(0, 12) : id,
    Name: name,
    Driver: driver,
    Scope: 'local',
    IPv6: String(bridge?.subnet6 !== undefined),
    Internal: String(bridge?.internal === true),
    Labels: Object.entries(bridge?.labels ?? {})
      .map(([key, value]) => `${key}=${value}`)
      .join(','),
    CreatedAt: created,
  });
}
