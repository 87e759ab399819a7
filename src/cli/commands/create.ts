import type { Command } from '../command.ts';
import { createFromFlags, createWithCidFile, parsePullPolicy } from '../create-container.ts';
import { CREATE_FLAGS } from '../create-flags.ts';
import { pullReporter } from '../pull-reporter.ts';

export const create: Command = {
  name: 'create',
  summary: 'Create a new container',
  usage: '[OPTIONS] IMAGE [COMMAND] [ARG...]',
  options: CREATE_FLAGS,
  operands: { min: 1 },
  interspersed: false,
  errorExit: 125,
  async run({ context, parsed, engine }) {
    const policy = parsed.one('pull', parsePullPolicy) ?? 'missing';
    const request = createFromFlags(parsed, context, 'created');
    const opened = await engine();
    const how = pullReporter(context, { policy, quiet: parsed.bool('quiet') });
    const { record } = await createWithCidFile(request, opened, how);
    context.stdout.write(`${record.id}\n`);
    return 0;
  },
};
