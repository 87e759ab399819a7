import type { Command } from '../command.ts';

export const commit: Command = {
  name: 'commit',
  summary: 'Create a new image from the changes of a container',
  usage: '[OPTIONS] CONTAINER [REPOSITORY[:TAG]]',
  options: [
    {
      long: 'author',
      short: 'a',
      type: 'string',
      help: 'Author (e.g., "John Hannibal Smith <hannibal@a-team.com>")',
    },
    { long: 'change', short: 'c', type: 'list', help: 'Apply Dockerfile instruction to the created image' },
    { long: 'message', short: 'm', type: 'string', help: 'Commit message' },
    { long: 'no-pause', type: 'bool', help: 'Disable pausing container during commit' },
    { long: 'pause', short: 'p', type: 'bool', default: true, hidden: true, help: 'Pause it during commit' },
  ],
  operands: { min: 1, max: 2 },
  async run({ context, parsed, engine: open }) {
    const [container = '', name] = parsed.operands;
    const author = parsed.string('author');
    const message = parsed.string('message');
    const id = await (await open()).commit(container, {
      ...(name === undefined || name === '' ? {} : { name }),
      ...(author === undefined ? {} : { author }),
      ...(message === undefined ? {} : { message }),
      changes: parsed.list('change'),
      pause: parsed.bool('pause', true) && !parsed.bool('no-pause'),
      signal: context.signal,
    });
    context.stdout.write(`${id}\n`);
    return 0;
  },
};
