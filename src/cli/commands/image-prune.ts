import type { Command } from '../command.ts';
import { confirmed } from '../confirm.ts';
import { filterPair } from '../filter-pair.ts';
import { imageFilter } from '../image-filter.ts';
import { humanSize } from '../size.ts';

const FILTERS = ['label', 'label!', 'until'];

export const imagePrune: Command = {
  name: 'image prune',
  summary: 'Remove unused images',
  usage: '[OPTIONS]',
  options: [
    { long: 'all', short: 'a', type: 'bool', help: 'Remove all unused images, not just dangling ones' },
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
    const filter = imageFilter(parsed.each('filter', filterPair), FILTERS);
    const all = parsed.bool('all');
    const what = all ? 'images without at least one container associated to them' : 'dangling images';
    if (!parsed.bool('force') && !(await confirmed(context, `This will remove all ${what}.`))) return 0;
    const engine = await open();
    const around = { all: await engine.images(), now: Date.now() };
    const { untagged, deleted, reclaimed } = await engine.pruneImages({
      all,
      matches: (image) => filter.matches(image, around),
    });
    const lines = [
      ...untagged.map((one) => `untagged: ${one}\n`),
      ...deleted.map((one) => `deleted: ${one}\n`),
    ];
    if (lines.length > 0) context.stdout.write(`Deleted Images:\n${lines.join('')}\n`);
    context.stdout.write(`Total reclaimed space: ${humanSize(reclaimed, 4)}\n`);
    return 0;
  },
};
