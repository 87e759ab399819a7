import { resolve } from 'node:path';
import { TinyrunError } from '../../errors.ts';
import { pour, writeWhole } from '../byte-streams.ts';
import type { Command } from '../command.ts';

export const save: Command = {
  name: 'save',
  summary: 'Save one or more images to a tar archive (streamed to STDOUT by default)',
  usage: '[OPTIONS] IMAGE [IMAGE...]',
  options: [
    {
      long: 'all-platforms',
      type: 'bool',
      help: 'Save the index of a multi-platform image with all images of it that are here',
    },
    { long: 'output', short: 'o', type: 'string', help: 'Write to a file, instead of STDOUT' },
    { long: 'platform', type: 'string', help: 'Save the image of this platform of a multi-platform image' },
  ],
  operands: { min: 1 },
  async run({ context, parsed, engine: open }) {
    const output = parsed.string('output');
    const platform = parsed.string('platform');
    if (platform !== undefined && parsed.bool('all-platforms'))
      throw new TinyrunError('invalid', '--all-platforms and --platform exclude each other');
    if (output === undefined && context.stdout.isTTY === true) {
      throw new TinyrunError(
        'invalid',
        'cowardly refusing to save to a terminal. Use the -o flag or redirect',
      );
    }
    const engine = await open();
    const chunks = await engine.save(parsed.operands, {
      allPlatforms: parsed.bool('all-platforms'),
      ...(platform === undefined || platform === '' ? {} : { platform }),
    });
    if (output === undefined) await pour(chunks, context.stdout);
    else await writeWhole(resolve(context.cwd, output), chunks);
    return 0;
  },
};
