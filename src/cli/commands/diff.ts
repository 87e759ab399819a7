import type { Command } from '../command.ts';

export const diff: Command = {
  name: 'diff',
  summary: "Inspect changes to files or directories on a container's filesystem",
  usage: 'CONTAINER',
  options: [],
  operands: { min: 1, max: 1 },
  async run({ context, parsed, engine: open }) {
    const changes = await (await open()).changes(parsed.operands[0] ?? '');
    // A name may hold anything: what would steer the terminal is shown as what it is.
    const lines = changes.map(({ kind, path }) => `${kind} ${path.replace(/[\x00-\x1f\x7f]/g, '?')}\n`);
    context.stdout.write(lines.join(''));
    return 0;
  },
};
