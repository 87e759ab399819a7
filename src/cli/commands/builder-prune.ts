import type { CacheEntry } from '../../engine/index.ts';
import { parseDuration } from '../../oci/go-values.ts';
import type { Command } from '../command.ts';
import { confirmed } from '../confirm.ts';
import { filterPair } from '../filter-pair.ts';
import { FlagError } from '../parse.ts';
import { humanSize } from '../size.ts';

export const builderPrune: Command = {
  name: 'builder prune',
  summary: 'Remove build cache',
  usage: '[OPTIONS]',
  options: [
    { long: 'all', short: 'a', type: 'bool', help: 'Remove all build cache, not just what no image has' },
    { long: 'filter', type: 'list', value: 'filter', help: 'Provide filter values (e.g. "until=24h")' },
    { long: 'force', short: 'f', type: 'bool', help: 'Do not prompt for confirmation' },
    { long: 'keep-storage', type: 'bytes', help: 'Amount of disk space to keep for cache' },
    { long: 'reserved-space', type: 'bytes', help: 'Amount of disk space to keep for cache', hidden: true },
  ],
  operands: { min: 0, max: 0 },
  async run({ context, parsed, engine: open }) {
    const all = parsed.bool('all');
    const filters = parsed.each('filter', filterPair).map(([key, value]) => matcherOf(key, value));
    const what = all ? 'all build cache' : 'all dangling build cache';
    if (!parsed.bool('force') && !(await confirmed(context, `This will remove ${what}.`))) return 0;
    const keep = parsed.number('keep-storage') ?? parsed.number('reserved-space');
    const engine = await open();
    const { deleted, reclaimed } = await engine.pruneBuildCache({
      all,
      ...(keep === undefined ? {} : { keep }),
      matches: (entry) => filters.every((matches) => matches(entry)),
    });
    if (deleted.length > 0) context.stdout.write(`Deleted build cache objects:\n${deleted.join('\n')}\n\n`);
    context.stdout.write(`Total reclaimed space: ${humanSize(reclaimed, 4)}\n`);
    return 0;
  },
};

function matcherOf(key: string, value: string): (entry: CacheEntry) => boolean {
  switch (key) {
    case 'until':
    case 'unused-for': {
      const before = Date.now() - ageOf(value);
      return ({ lastUsed }) => lastUsed.getTime() < before;
    }
    case 'type':
      return ({ type }) => type === value;
    case 'id':
      return ({ id }) => id.startsWith(value);
    case 'description':
      return ({ description }) => description.includes(value);
    default:
      throw new FlagError(`invalid filter '${key}': expected until, type, id or description`);
  }
}

/** Milliseconds. */
function ageOf(text: string): number {
  try {
    return parseDuration(text);
  } catch {
    throw new FlagError(`invalid filter 'until=${text}': expected a duration such as 24h`);
  }
}
