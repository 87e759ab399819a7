import type { ContainerSummary } from '../engine/index.ts';
import { FlagError } from './parse.ts';

type Test = (container: ContainerSummary, value: string, all: readonly ContainerSummary[]) => boolean;

const TESTS: Readonly<Record<string, Test>> = {
  id: ({ id }, value) => id.startsWith(value),
  name: ({ name }, value) => pattern(value).test(name) || pattern(value).test(`/${name}`),
  label: ({ record }, value) => {
    const labels = { ...record.image.config.Labels, ...record.options.labels };
    const equals = value.indexOf('=');
    return equals < 0
      ? Object.hasOwn(labels, value)
      : labels[value.slice(0, equals)] === value.slice(equals + 1);
  },
  exited: ({ status, state }, value) => status === 'exited' && state?.exitCode === Number(value),
  status: ({ status }, value) => status === value,
  ancestor: ({ record }, value) =>
    record.options.image === value ||
    record.options.image === `${value}:latest` ||
    `${record.options.image}:latest` === value ||
    record.image.id.replace('sha256:', '').startsWith(value.replace('sha256:', '')),
  before: ({ record }, value, all) => {
    const other = find(all, value);
    return other !== undefined && record.created < other.record.created;
  },
  since: ({ record }, value, all) => {
    const other = find(all, value);
    return other !== undefined && record.created > other.record.created;
  },
  network: ({ record, network }, value) => {
    const { mode } = record.options.network;
    return (
      mode.type === value ||
      (mode.type === 'bridge' && mode.network === value) ||
      network?.networkId === value
    );
  },
  publish: ({ network }, value) =>
    Object.values(network?.ports ?? {}).some((list) =>
      list?.some(({ HostPort }) => HostPort === value.split('/')[0]),
    ),
  expose: ({ network }, value) =>
    Object.keys(network?.ports ?? {}).some((port) => port === value || port === `${value}/tcp`),
  volume: ({ record }, value) =>
    record.options.mounts.some(
      (mount) => mount.target === value || (mount.type === 'bind' && mount.source === value),
    ),
};

export interface ContainerFilter {
  /** A filter that also wants containers that do not run. */
  readonly anyStatus: boolean;
  matches(container: ContainerSummary, all: readonly ContainerSummary[]): boolean;
}

/** `--filter key=value`: values of one key are alternatives, keys must all hold; labels must all hold. */
export function containerFilter(pairs: readonly (readonly [key: string, value: string])[]): ContainerFilter {
  const byKey = new Map<string, string[]>();
  for (const [key, value] of pairs) {
    if (!Object.hasOwn(TESTS, key)) throw new FlagError(`invalid filter '${key}'`);
    byKey.set(key, [...(byKey.get(key) ?? []), value]);
  }
  return {
    anyStatus: byKey.has('status') || byKey.has('exited'),
    matches: (container, all) =>
      [...byKey].every(([key, values]) => {
        const test = TESTS[key];
        if (test === undefined) return false;
        const holds = (value: string): boolean => test(container, value, all);
        return key === 'label' ? values.every(holds) : values.some(holds);
      }),
  };
}

function find(all: readonly ContainerSummary[], text: string): ContainerSummary | undefined {
  return all.find(({ id, name }) => name === text || id.startsWith(text));
}

/** A name filter is a regular expression, as in Docker; one that is none is looked for as it stands. */
function pattern(value: string): RegExp {
  try {
    return new RegExp(value);
  } catch {
    return new RegExp(value.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  }
}
