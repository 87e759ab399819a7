import type { Command } from '../command.ts';
import { forAll } from '../for-each.ts';
import { STOP_FLAGS, stopHow } from '../stop-flags.ts';

export const stop: Command = {
  name: 'stop',
  summary: 'Stop one or more running containers',
  usage: '[OPTIONS] CONTAINER [CONTAINER...]',
  options: STOP_FLAGS,
  operands: { min: 1 },
  async run({ context, parsed, engine: open }) {
    const engine = await open();
    return forAll(context, parsed.operands, async (name) => {
      await engine.stop(name, stopHow(parsed));
      return name;
    });
  },
};
