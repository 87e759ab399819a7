import { TinyrunError } from '../errors.ts';
import { cleanPath } from './clean-path.ts';
import { compileGlob, type Glob } from './glob.ts';

/**
 * .dockerignore, as moby/patternmatcher reads it: the last pattern that matches a path or one of its parents decides, `!`
 * takes back. https://docs.docker.com/build/concepts/context/#dockerignore-files
 */
export interface IgnoreMatcher {
  /** There is a `!` pattern. */
  readonly exceptions: boolean;
  /** Everything at the top is ignored (`*`, `**`), before exceptions. */
  readonly ignoresAll: boolean;
  /** @param path relative, without a leading slash */
  ignored(path: string): boolean;
  /**
   * The same for a walk from the top, each name once.
   * @param parent what the parent's answer held; undefined at the top
   */
  step(
    path: string,
    parent: IgnoreState | undefined,
  ): { readonly ignored: boolean; readonly state: IgnoreState };
  /** Whether something below an ignored directory may be taken back: if not, the walk need not go there. */
  mayTakeBack(directory: string): boolean;
}

/** For each pattern, whether it matched the directory or one above it. */
export type IgnoreState = readonly boolean[];

interface Pattern {
  readonly exception: boolean;
  readonly text: string;
  /** The characters before the first special one. */
  readonly literalPrefix: string;
  matches(path: string): boolean;
}

const FILE_MAX = 1024 * 1024;
const PATTERNS_MAX = 10_000;

/** @throws TinyrunError for a pattern that is none */
export function parseIgnore(text: string): IgnoreMatcher {
  if (text.length > FILE_MAX) throw new TinyrunError('invalid', 'the ignore file is larger than 1 MiB');
  const lines = text.replace(/^\ufeff/, '').split('\n');
  const patterns: string[] = [];
  for (const line of lines) {
    if (line.startsWith('#')) continue;
    const pattern = line.trim();
    if (pattern === '') continue;
    const exception = pattern.startsWith('!');
    const bare = exception ? pattern.slice(1).trim() : pattern;
    if (bare === '') throw new TinyrunError('invalid', 'illegal exclusion pattern: "!"');
    const clean = cleanPath(bare);
    patterns.push(`${exception ? '!' : ''}${clean.length > 1 ? clean.replace(/^\//, '') : clean}`);
  }
  return ignoreMatcher(patterns);
}

/** @param lines patterns as in the file, without comments */
export function ignoreMatcher(lines: readonly string[]): IgnoreMatcher {
  if (lines.length > PATTERNS_MAX)
    throw new TinyrunError('invalid', `more than ${PATTERNS_MAX} ignore patterns`);
  const patterns = lines.map(patternOf);
  const step = (
    path: string,
    parent: IgnoreState | undefined,
    above: readonly string[] = [],
  ): { ignored: boolean; state: IgnoreState } => {
    let ignored = false;
    const state = patterns.map((pattern, index) => {
      const inherited = parent?.[index] === true;
      // What cannot change the answer is not asked.
      if (!inherited && pattern.exception !== ignored) return false;
      const match = inherited || pattern.matches(path) || above.some((each) => pattern.matches(each));
      if (match) ignored = !pattern.exception;
      return match;
    });
    return { ignored, state };
  };
  const exceptions = patterns.filter(({ exception }) => exception);
  return {
    exceptions: exceptions.length > 0,
    ignoresAll: patterns.some(({ exception, text }) => !exception && ['*', '**', '**/*'].includes(text)),
    ignored: (path) => step(path, undefined, parentsOf(path)).ignored,
    step: (path, parent) => step(path, parent),
    mayTakeBack: (directory) =>
      exceptions.some(({ literalPrefix }) => {
        const below = `${directory}/`;
        return literalPrefix.startsWith(below) || below.startsWith(literalPrefix);
      }),
  };
}

function parentsOf(path: string): string[] {
  const parents: string[] = [];
  for (let at = path.indexOf('/'); at >= 0; at = path.indexOf('/', at + 1)) parents.push(path.slice(0, at));
  return parents;
}

function patternOf(line: string): Pattern {
  const exception = line.startsWith('!');
  const text = exception ? line.slice(1) : line;
  const { literalPrefix, matches } = matcherOf(text);
  return { exception, text, literalPrefix, matches };
}

/**
 * `**` at the beginning with nothing special behind it is a suffix, not only of whole names: `**foo` matches `xfoo`. At the
 * end it is a prefix. Moby's shortcuts, on which files rely.
 */
function matcherOf(text: string): Glob {
  const special = /[*?[\]\\]/;
  if (text.startsWith('**') && !special.test(text.slice(2))) {
    const suffix = text.slice(2);
    const whole = suffix.startsWith('/') ? suffix.slice(1) : undefined;
    return { literalPrefix: '', matches: (path) => path.endsWith(suffix) || path === whole };
  }
  if (text.endsWith('**') && !special.test(text.slice(0, -2))) {
    const prefix = text.slice(0, -2);
    return { literalPrefix: prefix, matches: (path) => path.startsWith(prefix) };
  }
  return compileGlob(text, { doubleStar: true });
}
