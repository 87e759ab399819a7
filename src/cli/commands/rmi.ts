import type { Command } from '../command.ts';
import { forEach } from '../for-each.ts';

export const rmi: Command = {
  name: 'rmi',
  summary: 'Remove one or more images',
  usage: '[OPTIONS] IMAGE [IMAGE...]',
  options: [
    { long: 'force', short: 'f', type: 'bool', help: 'Force removal of the image' },
    { long: 'no-prune', type: 'bool', help: 'Do not delete untagged parents' },
  ],
  operands: { min: 1 },
  async run({ context, parsed, engine: open }) {
    const engine = await open();
    return forEach(context, parsed.operands, async (name) => {
      const { untagged, deleted } = await engine.removeImage(name, { force: parsed.bool('force') });
      const lines = [
        ...untagged.map((one) => `Untagged: ${one}\n`),
        ...deleted.map((one) => `Deleted: ${one}\n`),
      ];
      context.stdout.write(lines.join(''));
    });
  },
};
