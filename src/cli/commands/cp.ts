import type { CopyPlace } from '../../engine/index.ts';
import { TinyrunError } from '../../errors.ts';
import { bytesOf, pour } from '../byte-streams.ts';
import type { Call, Command } from '../command.ts';
import { humanSize } from '../size.ts';

export const cp: Command = {
  name: 'cp',
  summary: 'Copy files/folders between a container and the local filesystem, or between containers',
  usage: '[OPTIONS] [CONTAINER:]SRC_PATH|- [CONTAINER:]DEST_PATH|-',
  options: [
    {
      long: 'archive',
      short: 'a',
      type: 'bool',
      help: 'Archive mode (copy all uid/gid information); else the copies are owned by root',
    },
    { long: 'follow-link', short: 'L', type: 'bool', help: 'Always follow symbol link in SRC_PATH' },
    {
      long: 'quiet',
      short: 'q',
      type: 'bool',
      help: 'Suppress progress output during copy. Progress output is automatically suppressed if no terminal is attached',
    },
  ],
  operands: { min: 2, max: 2 },
  async run(call) {
    const { context, parsed } = call;
    const { absolutePath, splitCopyArgument } = await import('../../engine/copy-rules.ts');
    const [from = '', to = ''] = parsed.operands;
    if (from === '') throw new TinyrunError('invalid', 'source can not be empty');
    if (to === '') throw new TinyrunError('invalid', 'destination can not be empty');
    const place = (text: string): CopyPlace => {
      const { container, path } = splitCopyArgument(text);
      if (container === undefined) return { path: text === '-' ? text : absolutePath(path, context.cwd) };
      return { container, path: absolutePath(path, '/') };
    };
    const [source, destination] = [place(from), place(to)];
    if (source.container === undefined && destination.container === undefined) {
      throw new TinyrunError('invalid', 'must specify at least one container source');
    }
    if (isStream(destination)) return await copyToStream(call, source);
    if (isStream(source)) return await copyFromStream(call, destination);
    const { bytes } = await (await call.engine()).copyFiles(source, destination, {
      archive: parsed.bool('archive'),
      followLink: parsed.bool('follow-link'),
      signal: context.signal,
    });
    if (!parsed.bool('quiet') && context.stdout.isTTY === true) {
      context.stderr.write(`Successfully copied ${humanSize(bytes)} to ${shown(destination)}\n`);
    }
    return 0;
  },
};

function isStream({ container, path }: CopyPlace): boolean {
  return container === undefined && path === '-';
}

function shown({ container, path }: CopyPlace): string {
  return container === undefined ? path : `${container}:${path}`;
}

async function copyToStream({ context, parsed, engine }: Call, source: CopyPlace): Promise<number> {
  const { container, path } = source;
  if (container === undefined)
    throw new TinyrunError('invalid', 'must specify at least one container source');
  if (context.stdout.isTTY === true) {
    throw new TinyrunError('invalid', 'cowardly refusing to copy to a terminal. Redirect the output');
  }
  const followLink = parsed.bool('follow-link');
  const archive = await (await engine()).archive({ container, path }, { followLink, signal: context.signal });
  await pour(archive, context.stdout);
  return 0;
}

async function copyFromStream({ context, engine }: Call, destination: CopyPlace): Promise<number> {
  const { container, path } = destination;
  if (container === undefined)
    throw new TinyrunError('invalid', 'must specify at least one container source');
  const archive = bytesOf(context.stdin);
  await (await engine()).extract({ container, path }, archive, { signal: context.signal });
  return 0;
}
