import { parseTime } from '../../engine/clock.ts';
import type { Command } from '../command.ts';
import { confirmed } from '../confirm.ts';
import { filterPair } from '../filter-pair.ts';
import { parseDuration } from '../flag-values.ts';
import { networkFilter } from '../network-filter.ts';

export const networkPrune: Command = {
  name: 'network prune',
  summary: 'Remove all unused networks',
  usage: '[OPTIONS]',
  options: [
    {
      long: 'filter',
      type: 'list',
      value: 'filter',
      help: 'Provide filter values (such as "until=<timestamp>")',
    },
    { long: 'force', short: 'f', type: 'bool', help: 'Do not prompt for confirmation' },
  ],
  operands: { min: 0, max: 0 },
  async run({ context, parsed, engine: open }) {
    const pairs = parsed.each('filter', filterPair);
    const limits = pairs
      .filter(([key]) => key === 'until')
      .map(([, value]) => parseTime(value, Date.now(), parseDuration));
    const matches = networkFilter(
      pairs.filter(([key]) => key !== 'until'),
      ['label', 'label!'],
    );
    const warning = 'This will remove all custom networks not used by at least one container.';
    if (!parsed.bool('force') && !(await confirmed(context, warning))) return 0;
    const engine = await open();
    const deleted = await engine.pruneNetworks(
      (network) => matches(network) && limits.every((limit) => Date.parse(network.created) < limit),
    );
    if (deleted.length > 0) {
      context.stdout.write(`Deleted Networks:\n${deleted.map((name) => `${name}\n`).join('')}\n`);
    }
    return 0;
  },
};
