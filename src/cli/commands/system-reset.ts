import type { Command } from '../command.ts';
import { confirmed } from '../confirm.ts';

export const systemReset: Command = {
  name: 'system reset',
  summary: 'Remove all containers, images and networks of this store',
  usage: '[OPTIONS]',
  options: [{ long: 'force', short: 'f', type: 'bool', help: 'Do not prompt for confirmation' }],
  operands: { min: 0, max: 0 },
  async run({ context, parsed, engine: open }) {
    const engine = await open();
    const warning = `This will remove all containers, images and networks of "${engine.root}".`;
    if (!parsed.bool('force') && !(await confirmed(context, warning))) return 0;
    await engine.reset();
    return 0;
  },
};
