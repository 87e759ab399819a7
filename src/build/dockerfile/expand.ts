import { TinyrunError } from '../../errors.ts';
import type { Escape, Lookup } from './ast.ts';
import { applyModifier } from './expand-modifier.ts';
import { replacePattern } from './shell-pattern.ts';
import { Words } from './split-words.ts';

/**
 * Variables and quotes in the words of a Dockerfile, by the rules of `docker/dockerfile:1`, which are nearly those of sh:
 * https://docs.docker.com/reference/dockerfile/#environment-replacement
 */
export interface ExpandOptions {
  readonly lookup: Lookup;
  readonly escape: Escape;
  /** Quotes stay in the result. */
  readonly rawQuotes?: boolean;
  /** Escapes stay in the result. */
  readonly rawEscapes?: boolean;
  /** Quotes have no meaning: the content of a heredoc. */
  readonly ignoreQuotes?: boolean;
  /** `$name` of an unset variable stays as it is. */
  readonly keepUnset?: boolean;
  /** UTF-16 units that the result may have; default 1 Mi. */
  readonly maxLength?: number;
}

export interface Expansion {
  readonly text: string;
  /** The text split at unquoted spaces, after expansion. */
  readonly words: readonly string[];
  /** Variables that were asked for, and set or not. */
  readonly matched: ReadonlySet<string>;
  readonly unmatched: ReadonlySet<string>;
}

/** @throws TinyrunError invalid: `failed to process "${x": syntax error: missing '}'` */
export function expand(word: string, lookup: Lookup, token: Escape): string {
  return expandWith(word, { lookup, escape: token }).text;
}

/** For the instructions whose variables may hold several words (EXPOSE). */
export function expandWords(word: string, lookup: Lookup, token: Escape): readonly string[] {
  return expandWith(word, { lookup, escape: token }).words;
}

/** For the files that heredocs make: variables only; the escape is always a backslash. */
export function expandContent(content: string, lookup: Lookup): string {
  return expandWith(content, { lookup, escape: '\\', ignoreQuotes: true, maxLength: CONTENT_MAX }).text;
}

const WORD_MAX = 1024 * 1024;
const CONTENT_MAX = 32 * 1024 * 1024;
/** `${a:-${b:-…}}` within each other. */
const DEPTH_MAX = 200;

export function expandWith(source: string, options: ExpandOptions): Expansion {
  const expander = new Expander(source, options);
  try {
    const { text, words } = expander.until(undefined, options.rawEscapes === true);
    return { text, words, matched: expander.matched, unmatched: expander.unmatched };
  } catch (error) {
    if (!(error instanceof TinyrunError)) throw error;
    const shown = source.length > 500 ? `${source.slice(0, 500)}…` : source;
    throw new TinyrunError('invalid', `failed to process ${JSON.stringify(shown)}: ${error.message}`);
  }
}

function invalid(message: string): TinyrunError {
  return new TinyrunError('invalid', message);
}

const SPECIAL_PARAMETERS = '@*#?-$!0';

class Expander {
  readonly matched = new Set<string>();
  readonly unmatched = new Set<string>();
  readonly #characters: readonly string[];
  readonly #options: ExpandOptions;
  readonly #max: number;
  #at = 0;
  #rawEscapes = false;
  #depth = 0;

  constructor(source: string, options: ExpandOptions) {
    this.#characters = Array.from(source);
    this.#options = options;
    this.#max = options.maxLength ?? WORD_MAX;
  }

  get #peek(): string | undefined {
    return this.#characters[this.#at];
  }

  #next(): string | undefined {
    return this.#characters[this.#at++];
  }

  /** Up to the character `stop`, which is taken, too; undefined: to the end. */
  until(stop: string | undefined, rawEscapes: boolean): { text: string; words: string[] } {
    const before = this.#rawEscapes;
    this.#rawEscapes = rawEscapes;
    if (++this.#depth > DEPTH_MAX) throw invalid('too many substitutions within each other');
    try {
      return this.#read(stop);
    } finally {
      this.#rawEscapes = before;
      this.#depth--;
    }
  }

  #read(stop: string | undefined): { text: string; words: string[] } {
    const words = new Words();
    let text = '';
    for (let character = this.#peek; character !== undefined; character = this.#peek) {
      if (character === stop) {
        this.#at++;
        return { text, words: words.all() };
      }
      const special = this.#special(character);
      if (special !== undefined) {
        text += special;
        if (character === '$') words.split(special);
        else words.raw(special);
      } else {
        this.#at++;
        if (character === this.#options.escape) {
          if (this.#rawEscapes) {
            words.raw(character);
            text += character;
          }
          const escaped = this.#next();
          if (escaped === undefined) break;
          words.raw(escaped);
          text += escaped;
        } else {
          words.split(character);
          text += character;
        }
      }
      if (text.length > this.#max) throw invalid(`the result is longer than ${this.#max} characters`);
    }
    if (stop !== undefined) throw invalid(`unexpected end of statement while looking for matching ${stop}`);
    return { text, words: words.all() };
  }

  /** What begins with `$`, a quote or `<`; undefined for any other character. */
  #special(character: string): string | undefined {
    if (character === '$') return this.#dollar();
    if (character === '<') return this.#lessThan();
    if (this.#options.ignoreQuotes === true) return undefined;
    if (character === "'") return this.#singleQuoted();
    if (character === '"') return this.#doubleQuoted();
    return undefined;
  }

  /** Nothing has a meaning in it, not even the escape. */
  #singleQuoted(): string {
    const end = this.#characters.indexOf("'", this.#at + 1);
    if (end < 0) throw invalid('unexpected end of statement while looking for matching single-quote');
    const [from, to] = this.#options.rawQuotes === true ? [this.#at, end + 1] : [this.#at + 1, end];
    this.#at = end + 1;
    return this.#characters.slice(from, to).join('');
  }

  #doubleQuoted(): string {
    const quote = this.#options.rawQuotes === true ? '"' : '';
    let text = quote;
    this.#at++;
    for (;;) {
      const character = this.#peek;
      if (character === undefined)
        throw invalid('unexpected end of statement while looking for matching double-quote');
      if (character === '"') {
        this.#at++;
        return text + quote;
      }
      if (character === '$') text += this.#dollar();
      else {
        this.#at++;
        const next = this.#peek;
        if (character === this.#options.escape) {
          if (this.#rawEscapes) text += character;
          if (next === undefined) continue;
          // As in sh: before anything else the escape is a character like others.
          if (next === '"' || next === '$' || next === this.#options.escape) {
            this.#at++;
            text += next;
            continue;
          }
        }
        text += character;
      }
      if (text.length > this.#max) throw invalid(`the result is longer than ${this.#max} characters`);
    }
  }

  /** `<<` and the spaces after it stay in one word with the name of the heredoc. */
  #lessThan(): string {
    this.#at++;
    if (this.#peek !== '<') return '<';
    this.#at++;
    let text = '<<';
    for (let next = this.#peek; next === ' ' || next === '\t' || next === '\r'; next = this.#peek) {
      text += next;
      this.#at++;
    }
    return text;
  }

  #dollar(): string {
    this.#at++;
    if (this.#peek !== '{') {
      const name = this.#name();
      if (name === '') return '$';
      const value = this.#value(name);
      return value ?? (this.#options.keepUnset === true ? `$${name}` : '');
    }
    this.#at++;
    const first = this.#peek;
    if (first === undefined) throw invalid("syntax error: missing '}'");
    if (first === '{' || first === '}' || first === ':') throw invalid('syntax error: bad substitution');
    const name = this.#name();
    const modifier = this.#next();
    switch (modifier) {
      case '}': {
        const value = this.#value(name);
        return value ?? (this.#options.keepUnset === true ? `\${${name}}` : '');
      }
      case ':':
        return this.#modified(name, this.#next(), true);
      case '/':
        return this.#replaced(name);
      default:
        return this.#modified(name, modifier, false);
    }
  }

  #modified(name: string, modifier: string | undefined, emptyIsUnset: boolean): string {
    const written = `${emptyIsUnset ? ':' : ''}${modifier ?? ''}`;
    const trims = modifier === '#' || modifier === '%';
    const known = trims ? !emptyIsUnset : modifier === '-' || modifier === '+' || modifier === '?';
    if (!known && modifier === undefined) throw invalid("syntax error: missing '}'");
    // BuildKit reads the word after a colon before it looks at the modifier; either way it is an error.
    if (!known) throw invalid(`unsupported modifier (${written}) in substitution`);
    const word = this.#until('}', trims, "syntax error: missing '}'");
    const value = this.#value(name);
    if (value === undefined && this.#options.keepUnset === true) return `\${${name}${written}${word}}`;
    return applyModifier({ name, modifier: modifier ?? '', emptyIsUnset, word, value });
  }

  #replaced(name: string): string {
    const all = this.#peek === '/';
    if (all) this.#at++;
    const pattern = this.#until('/', true, `syntax error: missing '/' in \${}`);
    const replacement = this.#until('}', true, "syntax error: missing '}'");
    const value = this.#value(name);
    if (value === undefined && this.#options.keepUnset === true)
      return `\${${name}/${pattern}/${replacement}}`;
    if (value === undefined) return '';
    // Each character may be replaced by all of it.
    if ((value.length + 1) * Math.max(1, replacement.length) > 64 * this.#max)
      throw invalid(`the result is longer than ${this.#max} characters`);
    return replacePattern(pattern, value, replacement, all);
  }

  #until(stop: string, rawEscapes: boolean, atEnd: string): string {
    try {
      return this.until(stop, rawEscapes).text;
    } catch (error) {
      throw this.#peek === undefined ? invalid(atEnd) : error;
    }
  }

  /** Letters, digits and `_`; digits alone where the first is one; else one of sh's special parameters. */
  #name(): string {
    const first = this.#peek;
    if (first === undefined) return '';
    if (/^\p{Nd}$/u.test(first)) return this.#take(/^\p{Nd}$/u);
    if (SPECIAL_PARAMETERS.includes(first)) {
      this.#at++;
      return first;
    }
    return this.#take(/^[\p{L}\p{Nd}_]$/u);
  }

  #take(kind: RegExp): string {
    let text = '';
    for (let next = this.#peek; next !== undefined && kind.test(next); next = this.#peek) {
      text += next;
      this.#at++;
    }
    return text;
  }

  #value(name: string): string | undefined {
    const value = this.#options.lookup(name);
    (value === undefined ? this.unmatched : this.matched).add(name);
    return value;
  }
}
