import { resolve } from 'node:path';
import { TinyrunError } from '../../errors.ts';
import { bytesOf, fileBytes } from '../byte-streams.ts';
import type { Command } from '../command.ts';

export const volumeImport: Command = {
  name: 'volume import',
  summary: 'Fill an empty volume from a tar archive',
  usage: 'VOLUME [FILE|-]',
  options: [],
  operands: { min: 1, max: 2 },
  async run({ context, parsed, engine: open }) {
    const [name = '', source = '-'] = parsed.operands;
    if (source === '-' && context.stdin.isTTY === true) {
      throw new TinyrunError('invalid', 'Cannot import from a terminal: redirect the archive to stdin');
    }
    const tar = source === '-' ? bytesOf(context.stdin) : fileBytes(resolve(context.cwd, source));
    await (await open()).importVolume(name, tar);
    return 0;
  },
};
