import { parseTime } from '../../engine/clock.ts';
import type { Command } from '../command.ts';
import { parseDuration, parseInteger } from '../flag-values.ts';
import { forEach } from '../for-each.ts';
import { LogPrinter } from '../log-printer.ts';
import { mergedByTime } from '../merged-logs.ts';
import { FlagError, type Parsed } from '../parse.ts';

export const logs: Command = {
  name: 'logs',
  summary: 'Fetch the logs of one or more containers',
  usage: '[OPTIONS] CONTAINER [CONTAINER...]',
  options: [
    { long: 'clear', type: 'bool', help: 'Empty the log in place of showing it' },
    { long: 'details', type: 'bool', help: 'Show extra details provided to logs' },
    { long: 'follow', short: 'f', type: 'bool', help: 'Follow log output' },
    { long: 'names', type: 'bool', help: 'Show the container’s name before each line, as for several' },
    { long: 'since', type: 'string', help: 'Show logs since timestamp (RFC 3339) or relative (42m)' },
    {
      long: 'tail',
      short: 'n',
      type: 'string',
      default: 'all',
      help: 'Number of lines to show from the end of the logs',
    },
    { long: 'timestamps', short: 't', type: 'bool', help: 'Show timestamps' },
    { long: 'until', type: 'string', help: 'Show logs before a timestamp or relative (42m)' },
  ],
  operands: { min: 1 },
  async run({ context, parsed, engine: open }) {
    const { operands } = parsed;
    if (parsed.bool('clear')) {
      if (parsed.bool('follow')) {
        throw new FlagError('conflicting options: cannot specify both --clear and --follow');
      }
      const engine = await open();
      return forEach(context, operands, (name) => engine.clearLogs(name));
    }
    const tail = tailOf(parsed);
    const since = timeOf(parsed, 'since');
    const until = timeOf(parsed, 'until');
    const engine = await open();
    const how = {
      follow: parsed.bool('follow'),
      signal: context.signal,
      ...(tail === undefined ? {} : { tail }),
      ...(since === undefined ? {} : { since }),
      ...(until === undefined ? {} : { until }),
    };
    const isNamed = operands.length > 1 || parsed.bool('names');
    // Asked for all before the first line: a name that is wrong is no reason to show half.
    const names = isNamed
      ? await Promise.all(operands.map(async (text) => (await engine.find(text)).name))
      : [];
    const printer = new LogPrinter(context, {
      names,
      timestamps: parsed.bool('timestamps'),
      details: parsed.bool('details'),
    });
    const sources = operands.map((text) => engine.logs(text, how));
    for await (const { from, entry } of mergedByTime(sources)) await printer.print(from, entry);
    return 0;
  },
};

/** Anything but a number from 0 means all, as in Docker. */
function tailOf(parsed: Parsed): number | undefined {
  const text = parsed.string('tail');
  if (text === undefined || text === 'all') return undefined;
  try {
    const count = parseInteger(text);
    return count < 0 ? undefined : count;
  } catch {
    return undefined;
  }
}

function timeOf(parsed: Parsed, long: string): number | undefined {
  return parsed.one(long, (text) => parseTime(text, Date.now(), parseDuration));
}
