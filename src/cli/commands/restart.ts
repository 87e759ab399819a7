import type { Command } from '../command.ts';
import { forEach } from '../for-each.ts';
import { STOP_FLAGS, stopHow } from '../stop-flags.ts';

export const restart: Command = {
  name: 'restart',
  summary: 'Restart one or more containers',
  usage: '[OPTIONS] CONTAINER [CONTAINER...]',
  options: STOP_FLAGS,
  operands: { min: 1 },
  async run({ context, parsed, engine: open }) {
    const engine = await open();
    return forEach(context, parsed.operands, async (name) => {
      await engine.restart(name, {
        ...stopHow(parsed),
        onWarning: (line) => context.stderr.write(`WARNING: ${line}\n`),
      });
      context.stdout.write(`${name}\n`);
    });
  },
};
