import { parseTime } from '../../engine/clock.ts';
import type { Command } from '../command.ts';
import { confirmed } from '../confirm.ts';
import { filterPair } from '../filter-pair.ts';
import { parseDuration } from '../flag-values.ts';
import { imageFilter } from '../image-filter.ts';
import { networkFilter } from '../network-filter.ts';
import { FlagError } from '../parse.ts';
import { humanSize } from '../size.ts';
import { volumeFilter } from '../volume-filter.ts';
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
    { long: 'volumes', type: 'bool', help: 'Prune anonymous volumes' },
  ],
  operands: { min: 0, max: 0 },
  async run({ context, parsed, engine: open }) {
    const pairs = parsed.each('filter', filterPair);
    const filter = imageFilter(pairs, FILTERS);
    const matches = pruneFilter(pairs, Date.now());
    const all = parsed.bool('all');
    const volumes = parsed.bool('volumes');
    if (volumes && pairs.some(([key]) => key === 'until')) {
      throw new FlagError('The "until" filter is not supported with "--volumes"');
    }
    const labels = pairs.filter(([key]) => key.startsWith('label'));
    const matchesVolume = volumeFilter(volumes ? pairs : [], ['label', 'label!']);
    const matchesNetwork = networkFilter(labels, ['label', 'label!']);
    const before = oldest(pairs);
    const what = { all, volumes, filters: pairs };
    if (!parsed.bool('force') && !(await confirmed(context, warning(what)))) return 0;
    const engine = await open();
    await engine.recover();
    const nothing = { deleted: [], reclaimed: 0 };
    const containers = await engine.pruneContainers(matches);
    const networks = await engine.pruneNetworks(
      (network) => matchesNetwork(network) && Date.parse(network.created) < before,
    );
    const gone = volumes
      ? await engine.pruneVolumes((volume) => volume.anonymous && matchesVolume(volume))
      : nothing;
    const around = { all: await engine.images(), now: Date.now() };
    const images = await engine.pruneImages({ all, matches: (image) => filter.matches(image, around) });
    // No part of the cache has a label.
    const cache =
      labels.length > 0
        ? nothing
        : await engine.pruneBuildCache({ all, matches: ({ lastUsed }) => lastUsed.getTime() < before });
    const imageLines = [
      ...images.untagged.map((one) => `untagged: ${one}`),
      ...images.deleted.map((one) => `deleted: ${one}`),
    ];
    context.stdout.write(
      section('Deleted Containers', containers.deleted) +
        section('Deleted Networks', networks) +
        section('Deleted Volumes', gone.deleted) +
        section('Deleted Images', imageLines) +
        section('Deleted build cache objects', cache.deleted),
    );
    const reclaimed = containers.reclaimed + gone.reclaimed + images.reclaimed + cache.reclaimed;
    context.stdout.write(`Total reclaimed space: ${humanSize(reclaimed, 4)}\n`);
    return 0;
  },
};

type Pairs = readonly (readonly [key: string, value: string])[];

/** The earliest of the `until` filters; milliseconds since the epoch. */
function oldest(pairs: Pairs): number {
  const now = Date.now();
  const times = pairs.flatMap(([key, value]) =>
    key === 'until' ? parseTime(value, now, parseDuration) : [],
  );
  return Math.min(Number.POSITIVE_INFINITY, ...times);
}

function section(title: string, lines: readonly string[]): string {
  return lines.length === 0 ? '' : `${title}:\n${lines.map((line) => `${line}\n`).join('')}\n`;
}

/** @see https://github.com/docker/cli/blob/master/cli/command/system/prune.go */
function warning(what: { all: boolean; volumes: boolean; filters: Pairs }): string {
  const parts = [
    'all stopped containers',
    'all networks not used by at least one container',
    ...(what.volumes ? ['all anonymous volumes not used by at least one container'] : []),
    what.all ? 'all images without at least one container associated to them' : 'all dangling images',
    what.all ? 'all build cache' : 'unused build cache',
  ];
  const lines = ['This will remove:', ...parts.map((part) => `  - ${part}`)];
  if (what.filters.length > 0) {
    lines.push('', '  Items to be pruned will be filtered with:');
    lines.push(...what.filters.map(([key, value]) => `  - ${key}=${value}`));
  }
  return `${lines.join('\n')}\n`;
}
