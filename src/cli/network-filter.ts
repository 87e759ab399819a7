import type { NetworkView } from '../engine/index.ts';
import { parseBool } from './flag-values.ts';
import { FlagError } from './parse.ts';

const PREDEFINED: ReadonlySet<string> = new Set(['bridge', 'host', 'none']);

const TESTS: Readonly<Record<string, (network: NetworkView, value: string) => boolean>> = {
  driver: ({ driver }, value) => driver === value,
  id: ({ id }, value) => id.startsWith(value),
  name: ({ name }, value) => name.includes(value),
  label: hasLabel,
  'label!': (network, value) => !hasLabel(network, value),
  scope: (_, value) => value === 'local',
  type: ({ name }, value) => PREDEFINED.has(name) === (value === 'builtin'),
  dangling: ({ name, users }, value) => (!PREDEFINED.has(name) && users.length === 0) === parseBool(value),
};

function hasLabel({ bridge }: NetworkView, value: string): boolean {
  const labels = bridge?.labels ?? {};
  const equals = value.indexOf('=');
  const key = equals < 0 ? value : value.slice(0, equals);
  return Object.hasOwn(labels, key) && (equals < 0 || labels[key] === value.slice(equals + 1));
}

/**
 * `--filter key=value` of the network commands: values of one key are alternatives, labels must all hold.
 * @param known the keys that the command has
 */
export function networkFilter(
  pairs: readonly (readonly [key: string, value: string])[],
  known: readonly string[],
): (network: NetworkView) => boolean {
  const byKey = new Map<string, string[]>();
  for (const [key, value] of pairs) {
    if (!known.includes(key)) throw new FlagError(`invalid filter '${key}'`);
    byKey.set(key, [...(byKey.get(key) ?? []), value]);
  }
  return (network) =>
    [...byKey].every(([key, values]) => {
      const holds = (value: string): boolean => TESTS[key]?.(network, value) === true;
      return key.startsWith('label') ? values.every(holds) : values.some(holds);
    });
}
