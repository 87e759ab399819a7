import type { Command } from '../command.ts';
import { humanSize } from '../size.ts';

export const systemCheck: Command = {
  name: 'system check',
  summary: 'Verify every blob and every unpacked layer of the store',
  usage: '[OPTIONS]',
  options: [
    {
      long: 'quick',
      type: 'bool',
      help: 'Check what must be there, and sizes, but not the content of blobs and layers',
    },
    {
      long: 'repair',
      type: 'bool',
      help: 'Unpack damaged layers again, and drop what cannot be restored',
    },
  ],
  operands: { min: 0, max: 0 },
  async run({ context, parsed, engine: open }) {
    const engine = await open();
    await engine.recover();
    const checked = await engine.check({
      quick: parsed.bool('quick'),
      repair: parsed.bool('repair'),
      signal: context.signal,
      onFinding: ({ text }) => context.stdout.write(`${text}\n`),
    });
    const { images, layers, blobs, bytes, damages, left } = checked;
    const counts = [count(images, 'image'), count(layers, 'layer'), count(blobs, 'blob')].join(', ');
    const state = damages === 0 ? 'no damage' : count(damages, 'damage');
    context.stdout.write(
      `${counts} (${humanSize(bytes, 4)}): ${state}${damages > 0 && left === 0 ? ', repaired' : ''}\n`,
    );
    if (left > 0 && !parsed.bool('repair')) {
      context.stderr.write('Mend it with "tinyrun system check --repair"\n');
    }
    return left > 0 ? 1 : 0;
  },
};

function count(number: number, what: string): string {
  return `${number} ${what}${number === 1 ? '' : 's'}`;
}
