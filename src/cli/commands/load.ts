import { resolve } from 'node:path';
import { TinyrunError } from '../../errors.ts';
import { bytesOf, fileBytes } from '../byte-streams.ts';
import type { Command } from '../command.ts';

export const load: Command = {
  name: 'load',
  summary: 'Load images from a tar archive or STDIN',
  usage: '[OPTIONS]',
  options: [
    { long: 'input', short: 'i', type: 'string', help: 'Read from tar archive file, instead of STDIN' },
    { long: 'platform', type: 'string', help: 'Load only the image of this platform' },
    { long: 'quiet', short: 'q', type: 'bool', help: 'Suppress the load output' },
  ],
  operands: { min: 0, max: 0 },
  async run({ context, parsed, engine: open }) {
    const input = parsed.string('input');
    if (input === undefined && context.stdin.isTTY === true) {
      throw new TinyrunError('invalid', 'requested load from stdin, but stdin is empty', {
        hint: 'Give the archive by --input, or redirect it to stdin',
      });
    }
    const platform = parsed.string('platform');
    const engine = await open();
    const chunks = input === undefined ? bytesOf(context.stdin) : fileBytes(resolve(context.cwd, input));
    const loaded = await engine.load(chunks, {
      ...(platform === undefined || platform === '' ? {} : { platform }),
      signal: context.signal,
    });
    const { familiarName, parseReference } = await import('../../engine/reference.ts');
    const lines = loaded.map(({ id, name }) =>
      name === undefined
        ? `Loaded image ID: ${id}\n`
        : `Loaded image: ${familiarName(parseReference(name))}\n`,
    );
    context.stdout.write(lines.join(''));
    return 0;
  },
};
