import type { Command } from '../command.ts';
import { forEach } from '../for-each.ts';

export const kill: Command = {
  name: 'kill',
  summary: 'Kill one or more running containers',
  usage: '[OPTIONS] CONTAINER [CONTAINER...]',
  options: [
    {
      long: 'signal',
      short: 's',
      type: 'string',
      default: 'SIGKILL',
      help: 'Signal to send to the container',
    },
  ],
  operands: { min: 1 },
  async run({ context, parsed, engine: open }) {
    const engine = await open();
    const signal = parsed.string('signal') ?? 'SIGKILL';
    return forEach(context, parsed.operands, async (name) => {
      await engine.kill(name, signal);
      context.stdout.write(`${name}\n`);
    });
  },
};
