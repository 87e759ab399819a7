import type { Command } from '../command.ts';
import { formatRows } from '../format.ts';
import { STATS_COLUMNS, statsColumns } from '../stats-columns.ts';

/** Cursor home, and what is behind it erased. */
const HOME = '\x1b[H\x1b[J';

export const stats: Command = {
  name: 'stats',
  summary: 'Display a live stream of container resource usage statistics',
  usage: '[OPTIONS] [CONTAINER...]',
  options: [
    { long: 'all', short: 'a', type: 'bool', help: 'Show all containers (default shows just running)' },
    { long: 'format', type: 'string', help: 'Format output using a Go template, "table TEMPLATE" or "json"' },
    {
      long: 'no-stream',
      type: 'bool',
      help: 'Disable streaming stats and only pull the first result',
    },
    { long: 'no-trunc', type: 'bool', help: 'Do not truncate output' },
  ],
  operands: { min: 0 },
  async run({ context, parsed, engine: open }) {
    const engine = await open();
    const fields = statsColumns({ truncate: !parsed.bool('no-trunc') });
    const live = !parsed.bool('no-stream') && context.stdout.isTTY === true;
    const how = { containers: parsed.operands, all: parsed.bool('all'), signal: context.signal };
    for await (const rows of engine.stats(how)) {
      const text = formatRows(rows, parsed.string('format'), { ...STATS_COLUMNS, fields });
      context.stdout.write(live ? `${HOME}${text}` : text);
      if (parsed.bool('no-stream')) break;
    }
    return 0;
  },
};
