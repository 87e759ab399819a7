import { TinyrunError } from '../errors.ts';
import type { Context } from './context.ts';

/**
 * A line typed at the terminal, the prompt on stdout.
 * @param hidden without echo, for passwords
 * @throws TinyrunError `unavailable` for Ctrl-C and Ctrl-D
 */
export async function ask(context: Context, prompt: string, hidden = false): Promise<string> {
  const { stdin, stdout } = context;
  stdout.write(prompt);
  if (hidden) stdin.setRawMode?.(true);
  try {
    return await readLine(stdin);
  } finally {
    if (hidden) {
      stdin.setRawMode?.(false);
      stdout.write('\n');
    }
    stdin.pause();
  }
}

function readLine(stdin: Context['stdin']): Promise<string> {
  return new Promise((resolve, reject) => {
    let line = '';
    const stop = (): void => {
      stdin.removeListener('data', take);
      stdin.removeListener('end', ended);
    };
    const ended = (): void => {
      stop();
      reject(new TinyrunError('unavailable', 'Cannot read the answer: it was broken off'));
    };
    const take = (chunk: Uint8Array | string): void => {
      for (const letter of Buffer.from(chunk as string).toString('utf8')) {
        if (letter === '\r' || letter === '\n') {
          stop();
          resolve(line);
          return;
        }
        if (letter === '\x03' || letter === '\x04') {
          ended();
          return;
        }
        line = letter === '\x7f' || letter === '\b' ? line.slice(0, -1) : line + letter;
      }
    };
    stdin.on('data', take);
    stdin.once('end', ended);
  });
}

/** All of stdin as text. @param longest bytes @throws TinyrunError `invalid` beyond that */
export async function readInput(stdin: Context['stdin'], longest: number): Promise<string> {
  const chunks: Buffer[] = [];
  let length = 0;
  for await (const chunk of stdin) {
    const bytes = Buffer.from(chunk);
    length += bytes.length;
    if (length > longest) {
      throw new TinyrunError('invalid', `Cannot read stdin: it has more than ${longest} bytes`);
    }
    chunks.push(bytes);
  }
  return Buffer.concat(chunks).toString('utf8');
}
