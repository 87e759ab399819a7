import { describe, errorCode, TinyrunError } from '../errors.ts';
import type { Context } from './context.ts';
import { FlagError } from './parse.ts';

/** What is said of an error: a line, and one of advice where there is any. */
export function errorLines(error: unknown, context: Context): string[] {
  // What is wrong with the command line is said in the user's own words, and may have several lines.
  if (error instanceof FlagError) return [`tinyrun: ${error.message}`];
  const hint = hintOf(error, context);
  return [sentenceOf(error), ...(hint === undefined ? [] : [hint])].map((line, at) =>
    printable(at === 0 ? `tinyrun: ${line}` : line),
  );
}

/** Characters of a line. */
const LONGEST_LINE = 1000;
/** Control, bidirectional and zero-width characters: an image's words in a message would steer the terminal. */
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g;

function printable(line: string): string {
  const whole = line.length > LONGEST_LINE ? `${line.slice(0, LONGEST_LINE)}…` : line;
  return whole.replace(UNPRINTABLE, (character) => ESCAPES[character] ?? hex(character));
}

const ESCAPES: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };

function hex(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
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
