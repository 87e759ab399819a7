import type { OptionSpec } from './command.ts';
import { parseBool, parseBytes, parseDecimal, parseDuration, parseInteger } from './flag-values.ts';

/** A command line that breaks the rules of its flags; Docker exits 125 for it whatever the command. */
export class FlagError extends Error {
  override readonly name = 'FlagError';
}

/** What was given, by long name, each of the type its option says. */
export class Parsed {
  readonly operands: readonly string[];
  readonly #values: ReadonlyMap<string, unknown>;
  readonly #options: readonly OptionSpec[];

  constructor(
    values: ReadonlyMap<string, unknown>,
    operands: readonly string[],
    options: readonly OptionSpec[] = [],
  ) {
    this.#values = values;
    this.operands = operands;
    this.#options = options;
  }

  /** True where the option stands on the command line, whatever its value. */
  has(long: string): boolean {
    return this.#values.has(long);
  }

  bool(long: string, otherwise = false): boolean {
    const value = this.#values.get(long);
    return typeof value === 'boolean' ? value : otherwise;
  }

  string(long: string): string | undefined {
    const value = this.#values.get(long);
    return typeof value === 'string' ? value : undefined;
  }

  number(long: string): number | undefined {
    const value = this.#values.get(long);
    return typeof value === 'number' ? value : undefined;
  }

  list(long: string): readonly string[] {
    const value = this.#values.get(long);
    return Array.isArray(value) ? value.map(String) : [];
  }

  /** Every value of a list option through `parse`. @throws FlagError that names the flag and the value */
  each<T>(long: string, parse: (text: string) => T): T[] {
    return this.list(long).map((text) => this.#parsed(long, text, parse));
  }

  /** The value of a string option through `parse`. @throws FlagError that names the flag and the value */
  one<T>(long: string, parse: (text: string) => T): T | undefined {
    const text = this.string(long);
    return text === undefined ? undefined : this.#parsed(long, text, parse);
  }

  #parsed<T>(long: string, text: string, parse: (text: string) => T): T {
    const option = this.#options.find((candidate) => candidate.long === long);
    return checked(option ?? { long }, text, parse);
  }
}

/** @throws FlagError `invalid argument "x" for "-m, --memory" flag: <reason>` where `parse` throws */
function checked<T>(option: { long: string; short?: string }, text: string, parse: (text: string) => T): T {
  try {
    return parse(text);
  } catch (cause) {
    const shown = option.short === undefined ? `--${option.long}` : `-${option.short}, --${option.long}`;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new FlagError(`invalid argument ${JSON.stringify(text)} for "${shown}" flag: ${reason}`);
  }
}

export interface ParseRules {
  readonly options: readonly OptionSpec[];
  /** False: the first operand ends the options. */
  readonly interspersed?: boolean;
}

/**
 * Parses arguments as Go's pflag does: `--flag=value`, `--flag value`, `-abc`, `-p80:80`, `-p=80:80`, `--bool=false`, `--`.
 * A later value replaces an earlier one; a list grows.
 * @throws FlagError in pflag's words
 * @see https://github.com/spf13/pflag/blob/master/flag.go (parseLongArg, parseSingleShortArg)
 */
export function parseArguments(argv: readonly string[], rules: ParseRules): Parsed {
  const parser = new Parser(rules.options);
  const operands: string[] = [];
  for (let at = 0; at < argv.length; at += 1) {
    const word = argv[at] ?? '';
    if (word === '--') {
      operands.push(...argv.slice(at + 1));
      break;
    }
    if (!word.startsWith('-') || word === '-') {
      if (rules.interspersed === false) {
        operands.push(...argv.slice(at));
        break;
      }
      operands.push(word);
      continue;
    }
    const next = argv[at + 1];
    const consumed = word.startsWith('--') ? parser.long(word, next) : parser.short(word, next);
    if (consumed) at += 1;
  }
  return new Parsed(parser.values, operands, rules.options);
}

class Parser {
  readonly values = new Map<string, unknown>();
  readonly #options: readonly OptionSpec[];

  constructor(options: readonly OptionSpec[]) {
    this.#options = options;
  }

  /** @returns true where `next` was the value */
  long(word: string, next: string | undefined): boolean {
    const text = word.slice(2);
    if (text === '' || text.startsWith('-') || text.startsWith('='))
      throw new FlagError(`bad flag syntax: ${word}`);
    const equals = text.indexOf('=');
    const name = equals < 0 ? text : text.slice(0, equals);
    const option = this.#options.find((one) => one.long === name);
    if (option === undefined) {
      if (name === 'help') return this.#help();
      throw new FlagError(`unknown flag: --${name}`);
    }
    if (equals >= 0) return this.#set(option, text.slice(equals + 1));
    if (option.type === 'bool') return this.#set(option, 'true');
    if (next === undefined) throw new FlagError(`flag needs an argument: --${name}`);
    this.#set(option, next);
    return true;
  }

  /** @returns true where `next` was the value */
  short(word: string, next: string | undefined): boolean {
    for (let rest = word.slice(1); rest !== ''; rest = rest.slice(1)) {
      const letter = rest.slice(0, 1);
      const option = this.#options.find((one) => one.short === letter);
      if (option === undefined) {
        if (letter === 'h') return this.#help();
        throw new FlagError(`unknown shorthand flag: '${letter}' in -${rest}`);
      }
      if (rest.length > 2 && rest[1] === '=') return this.#set(option, rest.slice(2));
      if (option.type === 'bool') {
        this.#set(option, 'true');
        continue;
      }
      if (rest.length > 1) return this.#set(option, rest.slice(1));
      if (next === undefined) throw new FlagError(`flag needs an argument: '${letter}' in -${rest}`);
      this.#set(option, next);
      return true;
    }
    return false;
  }

  #help(): false {
    this.values.set('help', true);
    return false;
  }

  #set(option: OptionSpec, text: string): false {
    const value = checked(option, text, (given) => optionValue(option, given));
    if (option.type === 'list') {
      const before = this.values.get(option.long);
      this.values.set(option.long, [...(Array.isArray(before) ? before : []), value]);
    } else {
      this.values.set(option.long, value);
    }
    return false;
  }
}

function optionValue(option: OptionSpec, text: string): unknown {
  switch (option.type) {
    case 'bool':
      return parseBool(text);
    case 'int':
      return parseInteger(text);
    case 'decimal':
      return parseDecimal(text);
    case 'bytes':
      return parseBytes(text);
    case 'duration':
      return parseDuration(text);
    case 'string':
    case 'list':
      return text;
  }
}
