import { describe, errorCode, TinyrunError } from '../errors.ts';
import type { Context } from './context.ts';

/** What is said of an error: a line, and one of advice where there is any. */
export function errorLines(error: unknown, context: Context): string[] {
  const hint = hintOf(error, context);
  return [`tinyrun: ${sentenceOf(error)}`, ...(hint === undefined ? [] : [hint])];
}

/** An error of Node's file calls in the grammar of all others: `Cannot mkdir "/x": permission denied`. */
function sentenceOf(error: unknown): string {
  const text = describe(error);
  const match = /^E[A-Z0-9]+: (.+?), (\w+)(?: '(.*?)'(?: -> '.*')?)?$/.exec(text);
  if (match === null) return text;
  const [, state, call, path] = match;
  return `Cannot ${call}${path === undefined ? '' : ` "${path}"`}: ${state}`;
}

function hintOf(error: unknown, context: Context): string | undefined {
  if (error instanceof TinyrunError && error.hint !== undefined) return error.hint;
  const denied = ['EACCES', 'EPERM'].includes(errorCode(error) ?? '');
  return denied && !context.isRoot ? 'tinyrun needs root: run it with sudo' : undefined;
}
