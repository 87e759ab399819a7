import { parseTime } from '../../engine/clock.ts';
import type { Command } from '../command.ts';
import { parseDuration, parseInteger } from '../flag-values.ts';
import type { Parsed } from '../parse.ts';

export const logs: Command = {
  name: 'logs',
  summary: 'Fetch the logs of a container',
  usage: '[OPTIONS] CONTAINER',
  options: [
    { long: 'details', type: 'bool', help: 'Show extra details provided to logs' },
    { long: 'follow', short: 'f', type: 'bool', help: 'Follow log output' },
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
  operands: { min: 1, max: 1 },
  async run({ context, parsed, engine: open }) {
    const engine = await open();
    const tail = tailOf(parsed);
    const since = timeOf(parsed, 'since');
    const until = timeOf(parsed, 'until');
    const timestamps = parsed.bool('timestamps');
    const entries = engine.logs(parsed.operands[0] ?? '', {
      follow: parsed.bool('follow'),
      ...(tail === undefined ? {} : { tail }),
      ...(since === undefined ? {} : { since }),
      ...(until === undefined ? {} : { until }),
    });
    for await (const { stream, text, time } of entries) {
      const output = stream === 'stdout' ? context.stdout : context.stderr;
      const line = timestamps ? `${time} ${text}` : text;
      if (!output.write(line)) await new Promise<void>((resolve) => output.once('drain', resolve));
    }
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
