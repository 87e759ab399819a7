import { resolve } from 'node:path';
import { TinyrunError } from '../../errors.ts';
import { bytesOf, fileBytes } from '../byte-streams.ts';
import type { Command } from '../command.ts';

export const importCommand: Command = {
  name: 'import',
  summary: 'Import the contents from a tarball to create a filesystem image',
  usage: '[OPTIONS] file|URL|- [REPOSITORY[:TAG]]',
  options: [
    { long: 'change', short: 'c', type: 'list', help: 'Apply Dockerfile instruction to the created image' },
    { long: 'message', short: 'm', type: 'string', help: 'Set commit message for imported image' },
    { long: 'platform', type: 'string', help: 'Set platform if server is multi-platform capable' },
  ],
  operands: { min: 1, max: 2 },
  async run({ context, parsed, engine: open }) {
    const [source = '', name] = parsed.operands;
    const message = parsed.string('message');
    const platform = parsed.string('platform');
    const request = {
      source,
      ...(name === undefined || name === '' ? {} : { name }),
      ...(message === undefined ? {} : { message }),
      ...(platform === undefined || platform === '' ? {} : { platform }),
      changes: parsed.list('change'),
      signal: context.signal,
    };
    if (source === '-' && context.stdin.isTTY === true) {
      throw new TinyrunError('invalid', 'Cannot import from a terminal: redirect the archive to stdin');
    }
    const engine = await open();
    const id = /^https?:\/\//i.test(source)
      ? await engine.importUrl(request)
      : await engine.import({
          ...request,
          // Docker's history does not name a local file.
          source: '-',
          archive: source === '-' ? bytesOf(context.stdin) : fileBytes(resolve(context.cwd, source)),
        });
    context.stdout.write(`${id}\n`);
    return 0;
  },
};
