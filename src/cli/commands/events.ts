import { parseTime } from '../../engine/clock.ts';
import type { EngineEvent } from '../../engine/index.ts';
import type { Command } from '../command.ts';
import { eventFilter } from '../event-filter.ts';
import { eventFields, eventJson, eventText } from '../event-text.ts';
import { filterPair } from '../filter-pair.ts';
import { parseDuration } from '../flag-values.ts';
import { templateOf } from '../format.ts';

export const events: Command = {
  name: 'events',
  summary: 'Show what happens to containers and images, by whichever command',
  usage: '[OPTIONS]',
  options: [
    {
      long: 'filter',
      short: 'f',
      type: 'list',
      value: 'filter',
      help: 'Filter output based on conditions provided',
    },
    { long: 'format', type: 'string', help: 'Format output using a Go template, or "json"' },
    { long: 'since', type: 'string', help: 'Show all events created since timestamp' },
    { long: 'until', type: 'string', help: 'Stream events until this timestamp' },
  ],
  operands: { min: 0, max: 0 },
  async run({ context, parsed, engine: open }) {
    const matches = eventFilter(parsed.each('filter', filterPair));
    const now = Date.now();
    const time = (text: string): number => parseTime(text, now, parseDuration);
    const since = parsed.one('since', time);
    const until = parsed.one('until', time);
    const show = shownAs(parsed.string('format'));
    const engine = await open();
    const stream = engine.events({
      matches,
      signal: context.signal,
      ...(since === undefined ? {} : { since }),
      ...(until === undefined ? {} : { until }),
    });
    for await (const event of stream) {
      const room = context.stdout.write(`${show(event)}\n`);
      if (!room) await new Promise<void>((resolve) => context.stdout.once('drain', resolve));
    }
    return 0;
  },
};

function shownAs(format: string | undefined): (event: EngineEvent) => string {
  if (format === undefined || format === '') return eventText;
  if (format === 'json' || format === '{{json .}}') return eventJson;
  const template = templateOf(format);
  return (event) => template(eventFields(event));
}
