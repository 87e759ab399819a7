import type { Command } from '../command.ts';
import { CONTAINER_COLUMNS, containerColumns } from '../container-columns.ts';
import { containerFilter } from '../container-filter.ts';
import { filterPair } from '../filter-pair.ts';
import { formatRows } from '../format.ts';

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
  ],
  operands: { min: 0, max: 0 },
  async run({ context, parsed, engine: open }) {
    const engine = await open();
    const filter = containerFilter(parsed.each('filter', filterPair));
    // First, so that what a killed monitor left is shown as what it is and does not stay.
    await engine.recover();
    const all = await engine.list();
    const last = parsed.bool('latest') ? 1 : (parsed.number('last') ?? -1);
    const wanted = parsed.bool('all') || last > 0 || filter.anyStatus;
    const matching = all.filter(
      (one) => filter.matches(one, all) && (wanted || one.status === 'running' || one.status === 'paused'),
    );
    const rows = last > 0 ? matching.slice(0, last) : matching;
    const columns = containerColumns({ now: Date.now(), truncate: !parsed.bool('no-trunc') });
    const format = parsed.bool('quiet') ? '{{.ID}}' : parsed.string('format');
    context.stdout.write(formatRows(rows, format, { ...CONTAINER_COLUMNS, fields: columns }));
    return 0;
  },
};
