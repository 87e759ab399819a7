import type { Command } from '../command.ts';

export const logout: Command = {
  name: 'logout',
  summary: 'Log out from a registry',
  usage: '[SERVER]',
  options: [],
  operands: { min: 0, max: 1 },
  async run({ context, parsed, engine: open }) {
    const engine = await open();
    const { server, removed } = await engine.logout(parsed.operands[0] ?? '');
    context.stdout.write(
      removed ? `Removing login credentials for ${server}\n` : `Not logged in to ${server}\n`,
    );
    return 0;
  },
};
