import { TinyrunError } from '../errors.ts';

/**
 * Path patterns: Go's filepath.Match (`*`, `?`, `[a-z]`, `\`), and moby's `**`. A pattern comes from whoever wrote the
 * .dockerignore or the Dockerfile, a path from whoever made the context: matching follows all ways at once instead of
 * backtracking, so that it costs at most the product of the two lengths.
 * https://pkg.go.dev/path/filepath#Match
 */
export interface Glob {
  /** The characters before the first that is special: no path without them matches. */
  readonly literalPrefix: string;
  matches(path: string): boolean;
}

interface GlobOptions {
  /** `**` and `**` with a slash are any number of directories, as in .dockerignore; else two stars are one. */
  readonly doubleStar: boolean;
}

type Token =
  | { readonly type: 'literal'; readonly text: string }
  /** `?` */
  | { readonly type: 'any' }
  /** `*` */
  | { readonly type: 'star' }
  /** `**` at the end: the rest. */
  | { readonly type: 'rest' }
  /** `**` elsewhere: nothing, or anything up to and with a slash. */
  | { readonly type: 'directories' }
  | {
      readonly type: 'class';
      readonly negated: boolean;
      readonly ranges: readonly (readonly [string, string])[];
    };

/** Names in a path are 255 bytes, a path 4096. */
const PATTERN_MAX = 4096;

/** @throws TinyrunError `syntax error in pattern`, as Go */
export function compileGlob(pattern: string, options: GlobOptions): Glob {
  if (pattern.length > PATTERN_MAX) throw badPattern(`${pattern.slice(0, 40)}…`);
  const tokens = tokensOf(pattern, options);
  const literalPrefix = literalRun(tokens);
  if (literalPrefix.length === tokens.length)
    return { literalPrefix, matches: (path) => path === literalPrefix };
  const literalSuffix = literalRun([...tokens].reverse())
    .split('')
    .reverse()
    .join('');
  return {
    literalPrefix,
    // Most paths are told apart by their beginning or end.
    matches: (path) => path.startsWith(literalPrefix) && path.endsWith(literalSuffix) && run(tokens, path),
  };
}

/** One token is one UTF-16 unit, so that lengths are comparable; a pair of surrogates is two literals, and one `any`. */
function literalRun(tokens: readonly Token[]): string {
  let text = '';
  for (const token of tokens) {
    if (token.type !== 'literal') break;
    text += token.text;
  }
  return text;
}

function tokensOf(pattern: string, { doubleStar }: GlobOptions): Token[] {
  const tokens: Token[] = [];
  for (let at = 0; at < pattern.length; at++) {
    const character = pattern[at] ?? '';
    if (character === '*') {
      const stars = pattern[at + 1] === '*';
      if (!stars || !doubleStar) {
        tokens.push({ type: 'star' });
        continue;
      }
      at++;
      if (pattern[at + 1] === '/') at++;
      tokens.push({ type: at + 1 === pattern.length ? 'rest' : 'directories' });
    } else if (character === '?') tokens.push({ type: 'any' });
    else if (character === '[') {
      const { token, end } = classAt(pattern, at + 1);
      tokens.push(token);
      at = end;
    } else if (character === '\\') {
      at++;
      if (at === pattern.length) throw badPattern(pattern);
      tokens.push({ type: 'literal', text: pattern[at] ?? '' });
    } else tokens.push({ type: 'literal', text: character });
  }
  return tokens;
}

/** @param start behind the bracket; the answer's `end` is the closing one */
function classAt(pattern: string, start: number): { token: Token; end: number } {
  let at = start;
  const negated = pattern[at] === '^';
  if (negated) at++;
  const ranges: [string, string][] = [];
  const next = (): string => {
    const escaped = pattern[at] === '\\';
    if (escaped) at++;
    const character = String.fromCodePoint(pattern.codePointAt(at) ?? 0);
    if (at >= pattern.length || (character === '-' && !escaped)) throw badPattern(pattern);
    at += character.length;
    return character;
  };
  while (pattern[at] !== ']' || ranges.length === 0) {
    if (pattern[at] === ']') throw badPattern(pattern);
    const from = next();
    if (pattern[at] !== '-') ranges.push([from, from]);
    else {
      at++;
      if (pattern[at] === ']') throw badPattern(pattern);
      ranges.push([from, next()]);
    }
  }
  return { token: { type: 'class', negated, ranges }, end: at };
}

/** Thompson's simulation: the set of tokens that may come next, character by character. */
function run(tokens: readonly Token[], path: string): boolean {
  let current = new Set<number>();
  /** States from which a slash leads on, within a `directories`. */
  let inside = new Set<number>();
  const enter = (set: Set<number>, within: Set<number>, from: number): void => {
    for (let state = from; !set.has(state); state++) {
      set.add(state);
      const token = tokens[state];
      if (token?.type === 'directories') within.add(state);
      else if (token?.type !== 'star' && token?.type !== 'rest') return;
    }
  };
  enter(current, inside, 0);
  for (const character of path) {
    const next = new Set<number>();
    const within = new Set<number>();
    for (const state of inside) {
      within.add(state);
      if (character === '/') enter(next, within, state + 1);
    }
    for (const state of current) {
      const token = tokens[state];
      if (token === undefined) continue;
      if (token.type === 'rest' || (token.type === 'star' && character !== '/')) enter(next, within, state);
      else if (fits(token, character)) enter(next, within, state + 1);
      else if (token.type === 'literal' && character.length === 2 && fitsPair(tokens, state, character))
        enter(next, within, state + 2);
    }
    if (next.size === 0 && within.size === 0) return false;
    current = next;
    inside = within;
  }
  return current.has(tokens.length);
}

function fits(token: Token, character: string): boolean {
  switch (token.type) {
    case 'literal':
      return token.text === character;
    case 'any':
      return character !== '/';
    case 'class':
      return (
        character !== '/' &&
        token.ranges.some(([from, to]) => from <= character && character <= to) !== token.negated
      );
    default:
      return false;
  }
}

/** A character outside the basic plane is two literals of the pattern. */
function fitsPair(tokens: readonly Token[], state: number, character: string): boolean {
  const [first, second] = [tokens[state], tokens[state + 1]];
  return first?.type === 'literal' && second?.type === 'literal' && first.text + second.text === character;
}

function badPattern(pattern: string): TinyrunError {
  return new TinyrunError('invalid', `syntax error in pattern: ${JSON.stringify(pattern)}`);
}
