import type { EngineEvent } from '../engine/index.ts';
import { FlagError } from './parse.ts';

type Test = (event: EngineEvent, value: string) => boolean;

/** @see https://docs.docker.com/reference/cli/docker/system/events/#filter */
const TESTS: Readonly<Record<string, Test>> = {
  container: (event, value) => event.type === 'container' && named(event, value),
  image: (event, value) =>
    event.type === 'image'
      ? [event.id, event.attributes.name].some((name) => isImage(name, value))
      : event.type === 'container' && isImage(event.attributes.image, value),
  volume: (event, value) => event.type === 'volume' && named(event, value),
  network: (event, value) => event.type === 'network' && named(event, value),
  daemon: (event, value) => event.type === 'daemon' && named(event, value),
  type: (event, value) => event.type === value,
  // Of `exec_create: ls` and `health_status: healthy` what stands before the colon is enough.
  event: ({ action }, value) => action === value || action.startsWith(`${value}:`),
  label: ({ attributes }, value) => {
    const equals = value.indexOf('=');
    return equals < 0
      ? Object.hasOwn(attributes, value)
      : attributes[value.slice(0, equals)] === value.slice(equals + 1);
  },
  scope: (_, value) => value === 'local',
};

/** `--filter KEY=VALUE`: values of one key are alternatives, keys must all hold, and so must labels. */
export function eventFilter(
  pairs: readonly (readonly [key: string, value: string])[],
): (event: EngineEvent) => boolean {
  const byKey = new Map<string, string[]>();
  for (const [key, value] of pairs) {
    if (!Object.hasOwn(TESTS, key)) throw new FlagError(`invalid filter '${key}'`);
    byKey.set(key, [...(byKey.get(key) ?? []), value]);
  }
  return (event) =>
    [...byKey].every(([key, values]) => {
      const holds = (value: string): boolean => TESTS[key]?.(event, value) ?? false;
      return key === 'label' ? values.every(holds) : values.some(holds);
    });
}

function named({ id, attributes }: EngineEvent, value: string): boolean {
  return attributes.name === value || (value !== '' && id.startsWith(value));
}

/** `busybox` also means any tag of it. */
function isImage(name: string | undefined, value: string): boolean {
  if (name === undefined) return false;
  return (
    name === value ||
    name === `${value}:latest` ||
    name.replace(/(:[^/:]+|@sha256:[0-9a-f]+)$/, '') === value ||
    (name.startsWith('sha256:') && name.startsWith(`sha256:${value.replace('sha256:', '')}`))
  );
}
