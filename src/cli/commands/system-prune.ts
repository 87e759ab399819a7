import type { Command } from '../command.ts';
import { confirmed } from '../confirm.ts';
import { filterPair } from '../filter-pair.ts';
import { imageFilter } from '../image-filter.ts';
import { humanSize } from '../size.ts';
import { pruneFilter } from './container-prune.ts';

const FILTERS = ['label', 'label!', 'until'];

export const systemPrune: Command = {
  name: 'system prune',
  summary: 'Remove unused data',
  usage: '[OPTIONS]',
  options: [
    { long: 'all', short: 'a', type: 'bool', help: 'Remove all unused images not just dangling ones' },
    {
      long: 'filter',
      type: 'list',
      value: 'filter',
      help: 'Provide filter values (such as "label=<key>=<value>")',
    },
    { long: 'force', short: 'f', type: 'bool', help: 'Do not prompt for confirmation' },
  ],
  operands: { min: 0, max: 0 },
  async run({ context, parsed, engine: open }) {
    const pairs = parsed.each('filter', filterPair);
    const filter = imageFilter(pairs, FILTERS);
    const matches = pruneFilter(pairs, Date.now());
    const all = parsed.bool('all');
    if (!parsed.bool('force') && !(await confirmed(context, warning(all, pairs)))) return 0;
    const engine = await open();
    await engine.recover();
    const containers = await engine.pruneContainers(matches);
    const around = { all: await engine.images(), now: Date.now() };
    const images = await engine.pruneImages({ all, matches: (image) => filter.matches(image, around) });
    const gone = [
      ...images.untagged.map((one) => `untagged: ${one}`),
      ...images.deleted.map((one) => `deleted: ${one}`),
    ];
    context.stdout.write(section('Deleted Containers', containers.deleted) + section('Deleted Images', gone));
    const reclaimed = containers.reclaimed + images.reclaimed;
    context.stdout.write(`Total reclaimed space: ${humanSize(reclaimed, 4)}\n`);
    return 0;
  },
};

function section(title: string, lines: readonly string[]): string {
  return lines.length === 0 ? '' : `${title}:\n${lines.map((line) => `${line}\n`).join('')}\n`;
}

/** @see https://github.com/docker/cli/blob/master/cli/command/system/prune.go */
function warning(all: boolean, filters: readonly (readonly [key: string, value: string])[]): string {
  const parts = [
    'all stopped containers',
    all ? 'all images without at least one container associated to them' : 'all dangling images',
  ];
  const lines = ['This will remove:', ...parts.map((part) => `  - ${part}`)];
  if (filters.length > 0) {
    lines.push('', '  Items to be pruned will be filtered with:');
    lines.push(...filters.map(([key, value]) => `  - ${key}=${value}`));
  }
  return `${lines.join('\n')}\n`;
}
