import type { Usage } from '../../engine/index.ts';
import type { Command } from '../command.ts';
import { formatRows } from '../format.ts';
import { humanSize } from '../size.ts';

const COLUMNS = {
  headings: {
    Type: 'TYPE',
    TotalCount: 'TOTAL',
    Active: 'ACTIVE',
    Size: 'SIZE',
    Reclaimable: 'RECLAIMABLE',
  },
  table: '{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}',
} as const;

export const systemDf: Command = {
  name: 'system df',
  summary: 'Show disk usage',
  usage: '[OPTIONS]',
  options: [
    { long: 'format', type: 'string', help: 'Format output using a Go template, "table TEMPLATE" or "json"' },
  ],
  operands: { min: 0, max: 0 },
  async run({ context, parsed, engine: open }) {
    const engine = await open();
    await engine.recover();
    const { images, containers } = await engine.diskUsage();
    const rows = [
      ['Images', images],
      ['Containers', containers],
    ] as const;
    context.stdout.write(
      formatRows(rows, parsed.string('format'), {
        ...COLUMNS,
        fields: ([type, usage]: readonly [string, Usage]) => ({
          Type: type,
          TotalCount: String(usage.count),
          Active: String(usage.active),
          Size: humanSize(usage.size, 4),
          Reclaimable: reclaimable(usage),
        }),
      }),
    );
    return 0;
  },
};

/** `1.2GB (50%)`, as Docker. */
function reclaimable({ size, reclaimable: bytes }: Usage): string {
  const share = size > 0 ? ` (${Math.trunc((bytes * 100) / size)}%)` : '';
  return `${humanSize(bytes, 4)}${share}`;
}
