import { TinyrunError } from '../../errors.ts';
import type { Command } from '../command.ts';

export const systemReset: Command = {
  name: 'system reset',
  summary: 'Remove all containers, images and networks of this store',
  usage: '[OPTIONS]',
  options: [{ long: 'force', short: 'f', type: 'bool', help: 'Do not prompt for confirmation' }],
  operands: { min: 0, max: 0 },
  async run({ context, parsed, engine: open }) {
    const engine = await open();
    if (!parsed.bool('force') && !(await confirmed(context, engine.root))) return 0;
    await engine.reset();
    return 0;
  },
};

async function confirmed(context: Parameters<Command['run']>[0]['context'], root: string): Promise<boolean> {
  if (context.stdin.isTTY !== true) {
    throw new TinyrunError('invalid', 'Cannot ask for confirmation: stdin is no terminal', {
      hint: 'Give --force to remove everything without being asked',
    });
  }
  context.stdout.write(
    `WARNING! This will remove all containers, images and networks of "${root}".\nAre you sure you want to continue? [y/N] `,
  );
  const answer = await new Promise<string>((resolve) => {
    context.stdin.once('data', (chunk: Uint8Array) => resolve(Buffer.from(chunk).toString()));
    context.stdin.once('end', () => resolve(''));
  });
  context.stdin.pause();
  return /^y(es)?\s*$/i.test(answer);
}
