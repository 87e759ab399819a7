import { TinyrunError } from '../../errors.ts';
import { didYouMean } from './suggest.ts';

type Kind = 'boolean' | 'string' | 'strings';

interface ValueOf {
  readonly boolean: boolean | undefined;
  readonly string: string | undefined;
  readonly strings: readonly string[];
}

type Flags<Kinds extends Readonly<Record<string, Kind>>> = {
  readonly [Name in keyof Kinds]: ValueOf[Kinds[Name]];
};

/**
 * Reads the flags of one instruction; all others are refused.
 * @throws TinyrunError in BuildKit's words, with the flag that was probably meant
 */
export function parseFlags<const Kinds extends Readonly<Record<string, Kind>>>(
  words: readonly string[],
  kinds: Kinds,
): Flags<Kinds> {
  const found = new Map<string, string[]>();
  for (const word of words) {
    const at = word.indexOf('=');
    const flag = at < 0 ? word : word.slice(0, at);
    const name = flag.slice(2);
    const kind = Object.hasOwn(kinds, name) ? kinds[name] : undefined;
    if (kind === undefined)
      throw invalid(`unknown flag: ${flag}${didYouMean(name, Object.keys(kinds), true)}`);
    const values = found.get(name) ?? [];
    if (values.length > 0 && kind !== 'strings') throw invalid(`duplicate flag specified: ${flag}`);
    values.push(checkedValue(flag, kind, at < 0 ? undefined : word.slice(at + 1)));
    found.set(name, values);
  }
  const result: Record<string, ValueOf[Kind]> = {};
  for (const [name, kind] of Object.entries(kinds)) {
    const values = found.get(name) ?? [];
    const [value] = values;
    if (kind === 'strings') result[name] = values;
    else result[name] = kind === 'boolean' && value !== undefined ? value === 'true' : value;
  }
  return result as Flags<Kinds>;
}

function checkedValue(flag: string, kind: Kind, value: string | undefined): string {
  if (kind !== 'boolean') {
    if (value === undefined) throw invalid(`missing a value on flag: ${flag}`);
    return value;
  }
  if (value === '') throw invalid(`missing a value on flag: ${flag}`);
  const lower = (value ?? 'true').toLowerCase();
  if (lower !== 'true' && lower !== 'false')
    throw invalid(`expecting boolean value for flag ${flag}, not: ${value}`);
  return lower;
}

function invalid(message: string): TinyrunError {
  return new TinyrunError('invalid', message);
}
