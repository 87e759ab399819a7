import { resolve } from 'node:path';
import { TinyrunError } from '../../errors.ts';
import type { Command } from '../command.ts';
import type { Output } from '../context.ts';

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

async function pour(chunks: AsyncIterable<Uint8Array>, output: Output): Promise<void> {
  for await (const chunk of chunks) {
    if (!output.write(chunk)) await new Promise<void>((drained) => output.once('drain', drained));
  }
}

/** Under another name first: a save that fails leaves no half archive, nor takes the old one away. */
async function writeWhole(path: string, chunks: AsyncIterable<Uint8Array>): Promise<void> {
  const { open, rename, rm, stat } = await import('node:fs/promises');
  const found = await stat(path).catch(() => undefined);
  // A device or a pipe cannot be replaced.
  const isInPlace = found !== undefined && !found.isFile();
  const target = isInPlace ? path : `${path}.${Date.now().toString(36)}.tmp`;
  try {
    const file = await open(target, isInPlace ? 'w' : 'wx', 0o600);
    try {
      for await (const chunk of chunks) await file.writeFile(chunk);
    } finally {
      await file.close();
    }
    if (!isInPlace) await rename(target, path);
  } catch (error) {
    if (!isInPlace) await rm(target, { force: true });
    throw error instanceof TinyrunError
      ? error
      : new TinyrunError('unavailable', `Cannot write "${path}"`, { cause: error });
  }
}
