import type { Command } from '../command.ts';
import { forEach } from '../for-each.ts';

export const pause: Command = {
  name: 'pause',
  summary: 'Pause all processes within one or more containers',
  usage: 'CONTAINER [CONTAINER...]',
  options: [],
  operands: { min: 1 },
  async run({ context, parsed, engine: open }) {
    const engine = await open();
    return forEach(context, parsed.operands, async (name) => {
      await engine.pause(name);
      context.stdout.write(`${name}\n`);
    });
  },
};
