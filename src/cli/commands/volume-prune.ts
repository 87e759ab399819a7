import type { Command } from '../command.ts';
import { confirmed } from '../confirm.ts';
import { filterPair } from '../filter-pair.ts';
import { parseBool } from '../flag-values.ts';
import { humanSize } from '../size.ts';
import { volumeFilter } from '../volume-filter.ts';

export const volumePrune: Command = {
  name: 'volume prune',
  summary: 'Remove unused local volumes',
  usage: '[OPTIONS]',
  options: [
    { long: 'all', short: 'a', type: 'bool', help: 'Remove all unused volumes, not just anonymous ones' },
    {
      long: 'filter',
      type: 'list',
      value: 'filter',
      help: 'Provide filter values (such as "label=<label>")',
    },
    { long: 'force', short: 'f', type: 'bool', help: 'Do not prompt for confirmation' },
  ],
  operands: { min: 0, max: 0 },
  async run({ context, parsed, engine: open }) {
    const pairs = parsed.each('filter', filterPair);
    const matches = volumeFilter(pairs, ['label', 'label!', 'all']);
    const all = parsed.bool('all') || pairs.some(([key, value]) => key === 'all' && parseBool(value));
    const what = all
      ? 'all local volumes not used by at least one container'
      : 'anonymous local volumes not used by at least one container';
    if (!parsed.bool('force') && !(await confirmed(context, `This will remove ${what}.`))) return 0;
    const engine = await open();
    const { deleted, reclaimed } = await engine.pruneVolumes(
      (volume) => (all || volume.anonymous) && matches(volume),
    );
    if (deleted.length > 0) {
      context.stdout.write(`Deleted Volumes:\n${deleted.map((name) => `${name}\n`).join('')}\n`);
    }
    context.stdout.write(`Total reclaimed space: ${humanSize(reclaimed, 4)}\n`);
    return 0;
  },
};
