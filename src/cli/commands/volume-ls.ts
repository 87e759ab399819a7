import type { VolumeFacts } from '../../engine/index.ts';
import type { Command } from '../command.ts';
import { filterPair } from '../filter-pair.ts';
import { formatRows } from '../format.ts';
import { volumeFilter } from '../volume-filter.ts';

const COLUMNS = {
  headings: {
    Driver: 'DRIVER',
    Name: 'VOLUME NAME',
    Availability: 'AVAILABILITY',
    Group: 'GROUP',
    Labels: 'LABELS',
    Links: 'LINKS',
    Mountpoint: 'MOUNTPOINT',
    Scope: 'SCOPE',
    Size: 'SIZE',
    Status: 'STATUS',
  },
  table: '{{.Driver}}\t{{.Name}}',
} as const;

export const volumeLs: Command = {
  name: 'volume ls',
  summary: 'List volumes',
  usage: '[OPTIONS]',
  options: [
    {
      long: 'filter',
      short: 'f',
      type: 'list',
      value: 'filter',
      help: 'Provide filter values (such as "dangling=true")',
    },
    { long: 'format', type: 'string', help: 'Format output using a Go template, "table TEMPLATE" or "json"' },
    { long: 'quiet', short: 'q', type: 'bool', help: 'Only display volume names' },
  ],
  operands: { min: 0, max: 0 },
  async run({ context, parsed, engine: open }) {
    const matches = volumeFilter(parsed.each('filter', filterPair), ['dangling', 'driver', 'label', 'name']);
    const engine = await open();
    const volumes = (await engine.volumes()).filter(matches);
    const format = parsed.bool('quiet') ? '{{.Name}}' : parsed.string('format');
    context.stdout.write(formatRows(volumes, format, { ...COLUMNS, fields: volumeFields }));
    return 0;
  },
};

/** Docker's fields, those of swarm and of `system df -v` as it has them here: not available. */
function volumeFields(volume: VolumeFacts): Readonly<Record<keyof (typeof COLUMNS)['headings'], string>> {
  return {
    Driver: volume.driver,
    Name: volume.name,
    Availability: 'N/A',
    Group: 'N/A',
    Labels: Object.entries(volume.labels)
      .map(([key, value]) => `${key}=${value}`)
      .join(','),
    Links: 'N/A',
    Mountpoint: volume.mountpoint,
    Scope: 'local',
    Size: 'N/A',
    Status: 'N/A',
  };
}
