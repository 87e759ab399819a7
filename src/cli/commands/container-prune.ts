import { parseTime } from '../../engine/clock.ts';
import type { Container } from '../../engine/index.ts';
import type { Command } from '../command.ts';
import { confirmed } from '../confirm.ts';
import { filterPair } from '../filter-pair.ts';
import { parseDuration } from '../flag-values.ts';
import { FlagError } from '../parse.ts';
import { humanSize } from '../size.ts';

export const containerPrune: Command = {
  name: 'container prune',
  summary: 'Remove all stopped containers',
  usage: '[OPTIONS]',
  options: [
    {
      long: 'filter',
      type: 'list',
      value: 'filter',
      help: 'Provide filter values (such as "until=<timestamp>" or "label=<key>=<value>")',
    },
    { long: 'force', short: 'f', type: 'bool', help: 'Do not prompt for confirmation' },
  ],
  operands: { min: 0, max: 0 },
  async run({ context, parsed, engine: open }) {
    const matches = pruneFilter(parsed.each('filter', filterPair), Date.now());
    const warning = 'This will remove all stopped containers.';
    if (!parsed.bool('force') && !(await confirmed(context, warning))) return 0;
    const engine = await open();
    const { deleted, reclaimed } = await engine.pruneContainers(matches);
    if (deleted.length > 0) {
      context.stdout.write(`Deleted Containers:\n${deleted.map((id) => `${id}\n`).join('')}\n`);
    }
    context.stdout.write(`Total reclaimed space: ${humanSize(reclaimed, 4)}\n`);
    return 0;
  },
};

type Pair = readonly [key: string, value: string];

/** All `label` and `label!` must hold, and the container be older than each `until`. @param now milliseconds */
export function pruneFilter(pairs: readonly Pair[], now: number): (container: Container) => boolean {
  const tests = pairs.map(([key, value]): ((container: Container) => boolean) => {
    if (key === 'label') return (container) => hasLabel(container, value);
    if (key === 'label!') return (container) => !hasLabel(container, value);
    if (key !== 'until') throw new FlagError(`invalid filter '${key}'`);
    const before = parseTime(value, now, parseDuration);
    return ({ record }) => Date.parse(record.created) < before;
  });
  return (container) => tests.every((test) => test(container));
}

function hasLabel({ record }: Container, value: string): boolean {
  const labels = { ...record.image.config.Labels, ...record.options.labels };
  const equals = value.indexOf('=');
  const key = equals < 0 ? value : value.slice(0, equals);
  return Object.hasOwn(labels, key) && (equals < 0 || labels[key] === value.slice(equals + 1));
}
