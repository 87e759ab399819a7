import { TinyrunError } from '../../errors.ts';
import type { Command } from '../command.ts';
import { forEach } from '../for-each.ts';

export const rm: Command = {
  name: 'rm',
  summary: 'Remove one or more containers',
  usage: '[OPTIONS] CONTAINER [CONTAINER...]',
  options: [
    {
      long: 'force',
      short: 'f',
      type: 'bool',
      help: 'Force the removal of a running container (uses SIGKILL)',
    },
    {
      long: 'volumes',
      short: 'v',
      type: 'bool',
      help: 'Remove anonymous volumes associated with the container',
    },
  ],
  operands: { min: 1 },
  async run({ context, parsed, engine: open }) {
    const engine = await open();
    const force = parsed.bool('force');
    const volumes = parsed.bool('volumes');
    const unfinished: (() => Promise<void>)[] = [];
    const code = await forEach(context, parsed.operands, async (name) => {
      try {
        const { finish } = await engine.remove(name, { force, volumes });
        unfinished.push(finish);
        context.stdout.write(`${name}\n`);
      } catch (error) {
        // With --force a container that is not there is as good as removed, but it is said.
        const missing = error instanceof TinyrunError && error.kind === 'not_found';
        if (!force || !missing) throw error;
        context.stderr.write(`tinyrun: ${error.message}\n`);
      }
    });
    for (const finish of unfinished) await finish();
    return code;
  },
};
