import type { Command } from '../command.ts';
import { forEach } from '../for-each.ts';

export const restart: Command = {
  name: 'restart',
  summary: 'Restart one or more containers',
  usage: '[OPTIONS] CONTAINER [CONTAINER...]',
  options: [
    { long: 'signal', short: 's', type: 'string', help: 'Signal to send to the container' },
    { long: 'timeout', short: 't', type: 'int', help: 'Seconds to wait before killing the container' },
    { long: 'time', type: 'int', help: 'Seconds to wait before killing the container', hidden: true },
  ],
  operands: { min: 1 },
  async run({ context, parsed, engine: open }) {
    const engine = await open();
    const timeout = parsed.number('timeout') ?? parsed.number('time');
    const signal = parsed.string('signal');
    return forEach(context, parsed.operands, async (name) => {
      await engine.restart(name, {
        ...(timeout === undefined ? {} : { timeout }),
        ...(signal === undefined ? {} : { signal }),
        onWarning: (line) => context.stderr.write(`WARNING: ${line}\n`),
      });
      context.stdout.write(`${name}\n`);
    });
  },
};
