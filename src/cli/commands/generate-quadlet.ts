import { writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Command } from '../command.ts';
import { oneOf } from '../container-flags.ts';
import { quadletFile } from '../quadlet.ts';
import { RESTARTS } from '../systemd-unit.ts';

export const generateQuadlet: Command = {
  name: 'generate quadlet',
  summary: 'Print a Quadlet file that describes a container',
  usage: '[OPTIONS] CONTAINER',
  options: [
    { long: 'files', short: 'f', type: 'bool', help: 'Write a file here, and print its path' },
    {
      long: 'restart-policy',
      type: 'string',
      default: 'on-failure',
      help: `When systemd starts it again (${RESTARTS.join('|')})`,
    },
  ],
  operands: { min: 1, max: 1 },
  async run({ context, parsed, engine: open }) {
    const restart = parsed.one('restart-policy', oneOf(RESTARTS, 'invalid restart policy')) ?? 'on-failure';
    const engine = await open();
    const { record } = await engine.find(parsed.operands[0] ?? '');
    const text = quadletFile(record, { restart });
    if (!parsed.bool('files')) {
      context.stdout.write(text);
      return 0;
    }
    const path = resolve(context.cwd, `${record.name}.container`);
    writeFileSync(path, text);
    context.stdout.write(`${path}\n`);
    return 0;
  },
};
