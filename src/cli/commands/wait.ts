import type { Command } from '../command.ts';
import { forEach } from '../for-each.ts';

export const wait: Command = {
  name: 'wait',
  summary: 'Block until one or more containers stop, then print their exit codes',
  usage: 'CONTAINER [CONTAINER...]',
  options: [],
  operands: { min: 1 },
  async run({ context, parsed, engine: open }) {
    const engine = await open();
    return forEach(context, parsed.operands, async (name) => {
      context.stdout.write(`${await engine.wait(name)}\n`);
    });
  },
};
