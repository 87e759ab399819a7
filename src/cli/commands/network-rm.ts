import { TinyrunError } from '../../errors.ts';
import type { Command } from '../command.ts';
import { forEach } from '../for-each.ts';

export const networkRm: Command = {
  name: 'network rm',
  summary: 'Remove one or more networks',
  usage: 'NETWORK [NETWORK...]',
  options: [
    { long: 'force', short: 'f', type: 'bool', help: 'Do not complain of networks that are not there' },
  ],
  operands: { min: 1 },
  async run({ context, parsed, engine: open }) {
    const engine = await open();
    return await forEach(context, parsed.operands, async (name) => {
      try {
        await engine.removeNetwork(name);
      } catch (error) {
        const missing = error instanceof TinyrunError && error.kind === 'not_found';
        if (!missing || !parsed.bool('force')) throw error;
      }
      context.stdout.write(`${name}\n`);
    });
  },
};
