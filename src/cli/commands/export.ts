import { resolve } from 'node:path';
import { TinyrunError } from '../../errors.ts';
import { pour, writeWhole } from '../byte-streams.ts';
import type { Command } from '../command.ts';

export const exportCommand: Command = {
  name: 'export',
  summary: 'Export the filesystem of a container as a tar archive',
  usage: '[OPTIONS] CONTAINER',
  options: [{ long: 'output', short: 'o', type: 'string', help: 'Write to a file, instead of STDOUT' }],
  operands: { min: 1, max: 1 },
  async run({ context, parsed, engine: open }) {
    const output = parsed.string('output');
    if (output === undefined && context.stdout.isTTY === true) {
      throw new TinyrunError(
        'invalid',
        'cowardly refusing to save to a terminal. Use the -o flag or redirect',
      );
    }
    const archive = await (await open()).export(parsed.operands[0] ?? '', { signal: context.signal });
    if (output === undefined) await pour(archive, context.stdout);
    else await writeWhole(resolve(context.cwd, output), archive);
    return 0;
  },
};
