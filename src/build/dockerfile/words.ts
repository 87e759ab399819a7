import { TinyrunError } from '../../errors.ts';
import type { CommandLine, Escape, KeyValue } from './ast.ts';

/** An instruction's line in its parts; `args` without the flags. */
export interface CommandParts {
  readonly name: string;
  /** `--from=x`, quotes resolved. */
  readonly flags: readonly string[];
  readonly args: string;
}

export function splitCommand(line: string, token: Escape): CommandParts {
  const [, name = '', rest = ''] = /^(\S*)[\t\v\f\r ]*([\s\S]*)$/.exec(line.trim()) ?? [];
  const { flags, args } = takeFlags(rest, token);
  return { name, flags, args: args.trim() };
}

/** The leading words that begin with `--`; a word `--` alone ends them. */
function takeFlags(text: string, token: Escape): { flags: string[]; args: string } {
  const flags: string[] = [];
  let at = 0;
  for (;;) {
    while (at < text.length && isSpace(text[at])) at++;
    if (!text.startsWith('--', at)) return { flags, args: text.slice(at) };
    const flag = readFlag(text, at, token);
    at = flag.end;
    if (flag.word === '--') return { flags, args: text.slice(at) };
    flags.push(flag.word);
  }
}

function readFlag(text: string, start: number, token: Escape): { word: string; end: number } {
  let word = '';
  let quote: string | undefined;
  let at = start;
  for (; at < text.length; at++) {
    const character = text[at] ?? '';
    if (quote === undefined && isSpace(character)) break;
    if (character === quote) quote = undefined;
    else if (quote === undefined && (character === "'" || character === '"')) quote = character;
    else if (character === token) word += text[++at] ?? '';
    else word += character;
  }
  return { word, end: at };
}

function isSpace(character: string | undefined): boolean {
  return character !== undefined && /\s/.test(character);
}

/** Words at unquoted spaces; quotes and escapes stay in them, for expand.ts. */
export function splitWords(text: string, token: Escape): string[] {
  const words: string[] = [];
  let word: string | undefined;
  let quote: string | undefined;
  for (let at = 0; at < text.length; at++) {
    const character = text[at] ?? '';
    if (quote === undefined && isSpace(character)) {
      if (word !== undefined) words.push(word);
      word = undefined;
      continue;
    }
    word ??= '';
    if (character === token && quote !== "'") {
      // At the very end it escapes nothing.
      if (at + 1 === text.length) break;
      word += character + (text[++at] ?? '');
      continue;
    }
    if (character === quote) quote = undefined;
    else if (quote === undefined && (character === "'" || character === '"')) quote = character;
    word += character;
  }
  if (word !== undefined && word !== '') words.push(word);
  return words;
}

/**
 * The words of a JSON array; undefined where it is none: then it is a line for the shell.
 * @throws TinyrunError for an array of other things than strings
 */
export function parseJsonWords(text: string): string[] | undefined {
  const trimmed = text.trimStart();
  if (!trimmed.startsWith('[')) return undefined;
  let values: unknown;
  try {
    values = JSON.parse(trimmed);
  } catch {
    return undefined;
  }
  if (!Array.isArray(values)) return undefined;
  return values.map((value) => {
    if (typeof value === 'string') return value;
    throw new TinyrunError(
      'invalid',
      'when using JSON array syntax, arrays must be comprised of strings only',
    );
  });
}

/** undefined where there is nothing. */
export function parseCommandLine(text: string): CommandLine | undefined {
  if (text === '') return undefined;
  const words = parseJsonWords(text);
  return words === undefined ? { form: 'shell', text } : { form: 'exec', words };
}

/** Of COPY, ADD and VOLUME: a JSON array, or words without any quoting. */
export function parseWordList(text: string): string[] {
  return parseJsonWords(text) ?? plainWords(text);
}

export function plainWords(text: string): string[] {
  return text === '' ? [] : text.split(/[\t\v\f\r ]+/);
}

/** Of ENV and LABEL: `a=b c="d e"`, or the old form `a b`. */
export function parsePairs(text: string, name: string, token: Escape): KeyValue[] {
  const words = splitWords(text, token);
  const [first] = words;
  if (first === undefined) throw new TinyrunError('invalid', `${name} requires at least one argument`);
  if (!first.includes('=')) {
    const [, key, value] = /^([^\t\v\f\r ]*)[\t\v\f\r ]+([\s\S]*)$/.exec(text) ?? [];
    if (key === undefined || value === undefined)
      throw new TinyrunError('invalid', `${name} must have two arguments`);
    return [{ key, value, legacy: true }];
  }
  return words.map((word) => {
    const at = word.indexOf('=');
    if (at < 0)
      throw new TinyrunError(
        'invalid',
        `Syntax error - can't find = in ${JSON.stringify(word)}. Must be of the form: name=value`,
      );
    if (at === 0) throw new TinyrunError('invalid', `${name} names can not be blank`);
    return { key: word.slice(0, at), value: word.slice(at + 1), legacy: false };
  });
}
