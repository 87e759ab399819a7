import type { Stats } from '../../engine/index.ts';
import { clientSettings } from '../client-settings.ts';
import type { Call, Command } from '../command.ts';
import { formatRows } from '../format.ts';
import { STATS_COLUMNS, statsColumns } from '../stats-columns.ts';
import { StatsView } from '../stats-view.ts';

/** Cursor home, and what is behind it erased. */
const HOME = '\x1b[H\x1b[J';
const HIDE_CURSOR = '\x1b[?25l';
const SHOW_CURSOR = '\x1b[?25h';

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
  async run(call) {
    const { context, parsed, engine: open } = call;
    const engine = await open();
    const looks = engine.stats({
      containers: parsed.operands,
      all: parsed.bool('all'),
      signal: context.signal,
    });
    const once = parsed.bool('no-stream');
    const live = !once && context.stdout.isTTY === true;
    const format = parsed.string('format') ?? clientSettings(context).statsFormat;
    if (live && format === undefined && !parsed.bool('no-trunc')) return watch(call, looks);
    const fields = statsColumns({ truncate: !parsed.bool('no-trunc') });
    for await (const rows of looks) {
      const text = formatRows(rows, format, { ...STATS_COLUMNS, fields });
      context.stdout.write(live ? `${HOME}${text}` : text);
      if (once) break;
    }
    return 0;
  },
};

async function watch({ context }: Call, looks: AsyncIterable<readonly Stats[]>): Promise<number> {
  const { stdout, env } = context;
  const view = new StatsView({ colour: (env.NO_COLOR ?? '') === '' && env.TERM !== 'dumb' });
  stdout.write(`${HIDE_CURSOR}${HOME}`);
  try {
    for await (const rows of looks) {
      const { columns = 80, rows: height = 24 } = stdout;
      const lines = view.lines(rows, { columns, rows: height });
      // Line over line and never an empty screen: no flicker.
      stdout.write(`\x1b[H${lines.map((line) => `${line}\x1b[K\n`).join('')}\x1b[J`);
    }
    return 0;
  } finally {
    stdout.write(SHOW_CURSOR);
  }
}
