import { TinyrunError } from '../errors.ts';
import type { Context } from './context.ts';

/**
 * Docker's question before something is deleted; anything but `y` or `yes` is a no.
 * @param warning a line of its own
 * @throws TinyrunError `invalid` where nobody can answer
 */
export async function confirmed(context: Context, warning: string): Promise<boolean> {
  if (context.stdin.isTTY !== true) {
    throw new TinyrunError('invalid', 'Cannot ask for confirmation: stdin is no terminal', {
      hint: 'Give --force to go on without being asked',
    });
  }
  context.stdout.write(`WARNING! ${warning}\nAre you sure you want to continue? [y/N] `);
  const answer = await new Promise<string>((resolve) => {
    context.stdin.once('data', (chunk: Uint8Array) => resolve(Buffer.from(chunk).toString()));
    context.stdin.once('end', () => resolve(''));
  });
  context.stdin.pause();
  return /^y(es)?\s*$/i.test(answer);
}
