import { TinyrunError } from '../../errors.ts';

/**
 * The patterns of `${x#…}`, `${x%…}` and `${x/…/…}`: `*` is any text, `?` any character, a backslash takes the meaning from
 * `*`, `?` and itself. No regular expressions: whoever writes the Dockerfile must not be able to make matching exponential.
 * As a shell (and unlike BuildKit) `*` and `?` match line ends, too.
 */
interface ShellPattern {
  /** What stands between the stars; a lone `[]` at either end means that the pattern begins or ends with a star. */
  readonly segments: readonly (readonly Part[])[];
}

/** One character; undefined for `?`. */
type Part = string | undefined;

/** Beyond it, matching `?` against a long value would take seconds. */
const PATTERN_MAX = 4096;

function parsePattern(text: string): ShellPattern {
  if (text.length > PATTERN_MAX)
    throw new TinyrunError('invalid', `pattern in substitution is longer than ${PATTERN_MAX} characters`);
  const segments: Part[][] = [[]];
  const characters = Array.from(text);
  for (let at = 0; at < characters.length; at++) {
    const character = characters[at] ?? '';
    if (character === '*') segments.push([]);
    else if (character === '?') segments.at(-1)?.push(undefined);
    else if (character === '\\') {
      const next = characters[at + 1];
      // Those two end the substitution: their escape is not part of the pattern.
      if (next === '}' || next === '/') continue;
      if (next !== '*' && next !== '?' && next !== '\\')
        throw new TinyrunError(
          'invalid',
          `invalid pattern (${text}) in substitution: invalid escape '\\${next ?? ''}'`,
        );
      segments.at(-1)?.push(next);
      at++;
    } else segments.at(-1)?.push(character);
  }
  return { segments };
}

/** `${value#pattern}`, `##` with `greedy`. */
export function trimPrefix(pattern: string, value: string, greedy: boolean): string {
  const characters = Array.from(value);
  const end = matchAt(parsePattern(pattern), characters, 0, greedy);
  return end === undefined ? value : characters.slice(end).join('');
}

/** `${value%pattern}`, `%%` with `greedy`: the same with both turned round. */
export function trimSuffix(pattern: string, value: string, greedy: boolean): string {
  const { segments } = parsePattern(pattern);
  const turned = { segments: segments.map((segment) => [...segment].reverse()).reverse() };
  const characters = Array.from(value).reverse();
  const end = matchAt(turned, characters, 0, greedy);
  return end === undefined ? value : characters.slice(end).reverse().join('');
}

/** `${value/pattern/replacement}`, `//` with `all`: the leftmost match, as long as possible. */
export function replacePattern(pattern: string, value: string, replacement: string, all: boolean): string {
  const parsed = parsePattern(pattern);
  const characters = Array.from(value);
  let result = '';
  let at = 0;
  while (at <= characters.length) {
    const found = search(parsed, characters, at);
    if (found === undefined) break;
    result += characters.slice(at, found.start).join('') + replacement;
    at = found.end;
    if (found.end === found.start) {
      // An empty match: one character goes on as it is, else it would be found for ever.
      result += characters[at] ?? '';
      at++;
    }
    if (!all) break;
  }
  return result + characters.slice(at).join('');
}

function search(
  pattern: ShellPattern,
  characters: readonly string[],
  from: number,
): { start: number; end: number } | undefined {
  const first = pattern.segments[0] ?? [];
  const start = find(first, characters, from);
  if (start === undefined) return undefined;
  const end = matchAt(pattern, characters, start, true);
  // What does not follow the first place of the first segment follows no later one.
  return end === undefined ? undefined : { start, end };
}

/** Where the match that begins at `start` ends: the nearest place, the farthest with `greedy`. */
function matchAt(
  pattern: ShellPattern,
  characters: readonly string[],
  start: number,
  greedy: boolean,
): number | undefined {
  const [first = [], ...rest] = pattern.segments;
  if (!fits(first, characters, start)) return undefined;
  let at = start + first.length;
  for (const [index, segment] of rest.entries()) {
    const last = index === rest.length - 1;
    const found = last && greedy ? findLast(segment, characters, at) : find(segment, characters, at);
    if (found === undefined) return undefined;
    at = found + segment.length;
  }
  return at;
}

function find(segment: readonly Part[], characters: readonly string[], from: number): number | undefined {
  for (let at = from; at + segment.length <= characters.length; at++)
    if (fits(segment, characters, at)) return at;
  return undefined;
}

function findLast(segment: readonly Part[], characters: readonly string[], from: number): number | undefined {
  for (let at = characters.length - segment.length; at >= from; at--)
    if (fits(segment, characters, at)) return at;
  return undefined;
}

function fits(segment: readonly Part[], characters: readonly string[], at: number): boolean {
  if (at + segment.length > characters.length) return false;
  for (let index = 0; index < segment.length; index++) {
    const part = segment[index];
    if (part !== undefined && part !== characters[at + index]) return false;
  }
  return true;
}
