import type { Command } from '../command.ts';
import { forEach } from '../for-each.ts';

export const unpause: Command = {
  name: 'unpause',
  summary: 'Unpause all processes within one or more containers',
  usage: 'CONTAINER [CONTAINER...]',
  options: [],
  operands: { min: 1 },
  async run({ context, parsed, engine: open }) {
    const engine = await open();
    return forEach(context, parsed.operands, async (name) => {
      await engine.unpause(name);
      context.stdout.write(`${name}\n`);
    });
  },
};
