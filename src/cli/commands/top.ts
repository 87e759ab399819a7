import type { Command } from '../command.ts';
import { renderTable } from '../table.ts';

export const top: Command = {
  name: 'top',
  summary: 'Display the running processes of a container',
  usage: 'CONTAINER [ps OPTIONS]',
  options: [],
  operands: { min: 1 },
  interspersed: false,
  async run({ context, parsed, engine: open }) {
    const [name = '', ...psArguments] = parsed.operands;
    const { titles, rows } = await (await open()).top(name, psArguments);
    context.stdout.write(renderTable([titles, ...rows]));
    return 0;
  },
};
