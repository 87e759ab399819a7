import type { Command } from '../command.ts';

export const rename: Command = {
  name: 'rename',
  summary: 'Rename a container',
  usage: 'CONTAINER NEW_NAME',
  options: [],
  operands: { min: 2, max: 2 },
  async run({ parsed, engine: open }) {
    const [name = '', newName = ''] = parsed.operands;
    await (await open()).rename(name, newName);
    return 0;
  },
};
