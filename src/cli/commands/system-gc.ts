import { TinyrunError } from '../../errors.ts';
import type { Command } from '../command.ts';
import { parseBytes, parseDuration, parseInteger } from '../flag-values.ts';
import { humanSize } from '../size.ts';

const DAY_MS = 24 * 3_600_000;

export const systemGc: Command = {
  name: 'system gc',
  summary: 'Remove images by age, number or size, and all that nothing needs',
  usage: '[OPTIONS]',
  options: [
    { long: 'dry-run', type: 'bool', help: 'Only print what would be removed' },
    {
      long: 'keep-last',
      type: 'string',
      value: 'int',
      help: 'Keep the images that were used last, so many; without other options, remove all others',
    },
    {
      long: 'max-size',
      type: 'string',
      value: 'bytes',
      help: 'Remove the images used longest ago until all take no more than this',
    },
    {
      long: 'older-than',
      type: 'string',
      value: 'duration',
      help: 'Remove images not used for so long (such as "36h" or "30d")',
    },
  ],
  operands: { min: 0, max: 0 },
  async run({ context, parsed, engine: open }) {
    const keepLast = parsed.one('keep-last', parseCount);
    const olderThan = parsed.one('older-than', parseAge);
    const maxSize = parsed.one('max-size', parseBytes);
    const dryRun = parsed.bool('dry-run');
    const engine = await open();
    await engine.recover();
    const { untagged, deleted, reclaimed, isComplete } = await engine.collectGarbage({
      dryRun,
      ...(keepLast === undefined ? {} : { keepLast }),
      ...(olderThan === undefined ? {} : { olderThan }),
      ...(maxSize === undefined ? {} : { maxSize }),
    });
    const lines = [
      ...untagged.map((one) => `untagged: ${one}\n`),
      ...deleted.map((one) => `deleted: ${one}\n`),
    ];
    if (lines.length > 0) {
      context.stdout.write(
        `${dryRun ? 'Images that would be deleted' : 'Deleted Images'}:\n${lines.join('')}\n`,
      );
    }
    const total = dryRun ? 'Total reclaimable space' : 'Total reclaimed space';
    context.stdout.write(`${total}: ${humanSize(reclaimed, 4)}\n`);
    if (!isComplete)
      context.stderr.write(
        'A pull is running or an image is damaged: the rest is freed by the next "tinyrun system gc"\n',
      );
    return 0;
  },
};

function parseCount(text: string): number {
  const count = parseInteger(text);
  if (count >= 0) return count;
  throw new TinyrunError('invalid', `${count} is less than 0`);
}

/** Go's durations, and days: `30d`. Milliseconds. */
function parseAge(text: string): number {
  const days = /^([0-9]+(?:\.[0-9]+)?)d$/.exec(text)?.[1];
  const age = days === undefined ? parseDuration(text) : Number(days) * DAY_MS;
  if (age >= 0) return age;
  throw new TinyrunError('invalid', `${text} is less than 0`);
}
