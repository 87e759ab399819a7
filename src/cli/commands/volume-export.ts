import { resolve } from 'node:path';
import { TinyrunError } from '../../errors.ts';
import { pour, writeWhole } from '../byte-streams.ts';
import type { Command } from '../command.ts';

export const volumeExport: Command = {
  name: 'volume export',
  summary: 'Export the content of a volume as a tar archive',
  usage: '[OPTIONS] VOLUME',
  options: [{ long: 'output', short: 'o', type: 'string', help: 'Write to a file, instead of STDOUT' }],
  operands: { min: 1, max: 1 },
  async run({ context, parsed, engine: open }) {
    const output = parsed.string('output');
    if (output === undefined && context.stdout.isTTY === true) {
      throw new TinyrunError('invalid', 'Cannot export to a terminal: use the -o flag or redirect');
    }
    const tar = await (await open()).exportVolume(parsed.operands[0] ?? '');
    if (output === undefined) await pour(tar, context.stdout);
    else await writeWhole(resolve(context.cwd, output), tar);
    return 0;
  },
};
