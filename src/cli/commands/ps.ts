import { clientSettings } from '../client-settings.ts';
import type { Command } from '../command.ts';
import { CONTAINER_COLUMNS, containerColumns, SIZE_COLUMN } from '../container-columns.ts';
import { containerFilter } from '../container-filter.ts';
import type { Context } from '../context.ts';
import { filterPair } from '../filter-pair.ts';
import { formatRows } from '../format.ts';
import type { Parsed } from '../parse.ts';

export const ps: Command = {
  name: 'ps',
  summary: 'List containers',
  usage: '[OPTIONS]',
  options: [
    { long: 'all', short: 'a', type: 'bool', help: 'Show all containers (default shows just running)' },
    {
      long: 'filter',
      short: 'f',
      type: 'list',
      value: 'filter',
      help: 'Filter output based on conditions provided',
    },
    { long: 'format', type: 'string', help: 'Format output using a Go template, "table TEMPLATE" or "json"' },
    { long: 'last', short: 'n', type: 'int', help: 'Show n last created containers (includes all states)' },
    {
      long: 'latest',
      short: 'l',
      type: 'bool',
      help: 'Show the latest created container (includes all states)',
    },
    { long: 'no-trunc', type: 'bool', help: "Don't truncate output" },
    { long: 'quiet', short: 'q', type: 'bool', help: 'Only display container IDs' },
    { long: 'size', short: 's', type: 'bool', help: 'Display total file sizes' },
  ],
  operands: { min: 0, max: 0 },
  async run({ context, parsed, engine: open }) {
    const engine = await open();
    const filter = containerFilter(parsed.each('filter', filterPair));
    // First, so that what a killed monitor left is shown as what it is and does not stay.
    await engine.recover();
    const format = formatOf(parsed, context);
    const wantsSize = parsed.bool('size') || /\.Size\b/.test(format ?? '');
    const all = await engine.list({ size: wantsSize && !parsed.bool('quiet') });
    const images = filter.needsImages ? await engine.images() : [];
    const last = parsed.bool('latest') ? 1 : (parsed.number('last') ?? -1);
    const wanted = parsed.bool('all') || last > 0 || filter.anyStatus;
    const matching = all.filter(
      (one) => (wanted || UP.has(one.status)) && filter.matches(one, { all, images }),
    );
    const rows = last > 0 ? matching.slice(0, last) : matching;
    const fields = containerColumns({ now: Date.now(), truncate: !parsed.bool('no-trunc') });
    const table = `${CONTAINER_COLUMNS.table}${parsed.bool('size') ? SIZE_COLUMN : ''}`;
    context.stdout.write(formatRows(rows, format, { ...CONTAINER_COLUMNS, table, fields }));
    return 0;
  },
};

/** What `ps` shows without `-a`. */
const UP: ReadonlySet<string> = new Set(['running', 'paused', 'restarting']);

function formatOf(parsed: Parsed, context: Context): string | undefined {
  if (parsed.bool('quiet')) return '{{.ID}}';
  return parsed.string('format') ?? clientSettings(context).psFormat;
}
