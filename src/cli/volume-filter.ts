import type { VolumeFacts } from '../engine/index.ts';
import { parseBool } from './flag-values.ts';
import { FlagError } from './parse.ts';

type Test = (volume: VolumeFacts, value: string) => boolean;

const TESTS: Readonly<Record<string, Test>> = {
  dangling: ({ users }, value) => (users.length === 0) === parseBool(value),
  driver: ({ driver }, value) => driver === value,
  label: hasLabel,
  'label!': (volume, value) => !hasLabel(volume, value),
  name: ({ name }, value) => name.includes(value),
  all: () => true,
};

function hasLabel({ labels }: VolumeFacts, value: string): boolean {
  const equals = value.indexOf('=');
  const key = equals < 0 ? value : value.slice(0, equals);
  return Object.hasOwn(labels, key) && (equals < 0 || labels[key] === value.slice(equals + 1));
}

/**
 * `--filter key=value` of the volume commands: values of `name` and `driver` are alternatives, all else must hold.
 * @param known the keys that the command has
 */
export function volumeFilter(
  pairs: readonly (readonly [key: string, value: string])[],
  known: readonly string[],
): (volume: VolumeFacts) => boolean {
  const byKey = new Map<string, string[]>();
  for (const [key, value] of pairs) {
    if (!known.includes(key)) throw new FlagError(`invalid filter '${key}'`);
    if (key === 'dangling' || key === 'all') checkBool(key, value);
    byKey.set(key, [...(byKey.get(key) ?? []), value]);
  }
  return (volume) =>
    [...byKey].every(([key, values]) => {
      const holds = (value: string): boolean => TESTS[key]?.(volume, value) === true;
      return key === 'name' || key === 'driver' ? values.some(holds) : values.every(holds);
    });
}

function checkBool(key: string, value: string): void {
  try {
    parseBool(value);
  } catch (cause) {
    throw new FlagError(`invalid filter '${key}=[${value}]'`, { cause });
  }
}
