import { containerMounts } from '../engine/containers.ts';
import type { ContainerSummary, StoredImage } from '../engine/index.ts';
import { TinyrunError } from '../errors.ts';
import { parseBool, parseInteger } from './flag-values.ts';
import { isNamed, namesLike } from './image-filter.ts';
import { FlagError } from './parse.ts';

/** What a test may look at besides the container. */
export interface Surroundings {
  readonly all: readonly ContainerSummary[];
  /** Those of the store; needed where {@link ContainerFilter.needsImages}. */
  readonly images?: readonly StoredImage[];
}

type Test = (container: ContainerSummary, around: Surroundings) => boolean;

/** Of each filter, what its value means; a wrong one is said before anything is listed. */
const FILTERS: Readonly<Record<string, (value: string) => Test>> = {
  id: (value) => {
    const matches = pattern(value);
    return ({ id }) => id.startsWith(value) || matches.test(id);
  },
  name: (value) => {
    const matches = pattern(value);
    return ({ name }) => matches.test(name) || matches.test(`/${name}`);
  },
  label: (value) => (container) => hasLabel(container, value),
  exited: (value) => {
    const code = parseInteger(value);
    return ({ status, state }) => status === 'exited' && state?.exitCode === code;
  },
  status: (value) => {
    if (!STATUSES.has(value)) throw new Error(`invalid value for status: ${value}`);
    return ({ status }) => status === value;
  },
  health: (value) => {
    if (!HEALTH.has(value)) throw new Error(`invalid value for health: ${value}`);
    return ({ health }) => (health ?? 'none') === value;
  },
  ancestor: (value) => (container, around) => descendsFrom(container, value, around.images ?? []),
  before: (value) => (container, around) => container.record.created < find(around.all, value).record.created,
  since: (value) => (container, around) => container.record.created > find(around.all, value).record.created,
  network: (value) => (container) => isOnNetwork(container, value),
  publish: (value) => {
    const range = portRange(value);
    return ({ network }) =>
      Object.entries(network?.ports ?? {}).some(
        ([key, bindings]) =>
          key.endsWith(`/${range.protocol}`) && bindings?.some(({ HostPort }) => range.has(Number(HostPort))),
      );
  },
  expose: (value) => {
    const range = portRange(value);
    return (container) =>
      exposedPorts(container).some((key) => {
        const [port, protocol = 'tcp'] = key.split('/');
        return protocol === range.protocol && range.has(Number(port));
      });
  },
  volume:
    (value) =>
    ({ record }) =>
      containerMounts(record).some(
        (mount) =>
          mount.target === value ||
          (mount.type === 'bind' && mount.source === value) ||
          (mount.type === 'volume' && mount.name === value),
      ),
  // Nothing is a task of a swarm here, and Windows has the other isolations.
  'is-task': (value) => (parseBool(value) ? () => false : () => true),
  isolation: (value) => () => value === 'default' || value === '',
};

const STATUSES: ReadonlySet<string> = new Set([
  'created',
  'restarting',
  'running',
  'removing',
  'paused',
  'exited',
  'dead',
]);

const HEALTH: ReadonlySet<string> = new Set(['none', 'starting', 'healthy', 'unhealthy']);

export interface ContainerFilter {
  /** A filter that also wants containers that do not run. */
  readonly anyStatus: boolean;
  readonly needsImages: boolean;
  matches(container: ContainerSummary, around: Surroundings): boolean;
}

/**
 * `--filter key=value`: values of one key are alternatives, keys must all hold; labels must all hold.
 * @throws FlagError for keys and values that Docker does not know
 * @see https://docs.docker.com/reference/cli/docker/container/ls/#filter
 */
export function containerFilter(pairs: readonly (readonly [key: string, value: string])[]): ContainerFilter {
  const byKey = new Map<string, Test[]>();
  for (const [key, value] of pairs) {
    byKey.set(key, [...(byKey.get(key) ?? []), testOf(key, value)]);
  }
  return {
    anyStatus: byKey.has('status') || byKey.has('exited'),
    needsImages: byKey.has('ancestor'),
    matches: (container, around) =>
      [...byKey].every(([key, tests]) => {
        const holds = (test: Test): boolean => test(container, around);
        return key === 'label' ? tests.every(holds) : tests.some(holds);
      }),
  };
}

function testOf(key: string, value: string): Test {
  const make = Object.hasOwn(FILTERS, key) ? FILTERS[key] : undefined;
  if (make === undefined) throw new FlagError(`invalid filter '${key}'`);
  try {
    return make(value);
  } catch (cause) {
    throw new FlagError(
      `invalid filter '${key}=${value}': ${cause instanceof Error ? cause.message : String(cause)}`,
    );
  }
}

function hasLabel({ record }: ContainerSummary, value: string): boolean {
  const labels = { ...record.image.config.Labels, ...record.options.labels };
  const equals = value.indexOf('=');
  return equals < 0
    ? Object.hasOwn(labels, value)
    : labels[value.slice(0, equals)] === value.slice(equals + 1);
}

/** Made from the image, or from one that begins with its layers. */
function descendsFrom({ record }: ContainerSummary, value: string, images: readonly StoredImage[]): boolean {
  if (namesLike(record.options.image).some((name) => name === value || name === `${value}:latest`))
    return true;
  const hex = value.replace('sha256:', '');
  if (/^[0-9a-f]{4,64}$/.test(hex) && record.image.id.startsWith(`sha256:${hex}`)) return true;
  const own = images.find(({ id }) => id === record.image.id)?.config.rootfs.diff_ids ?? [];
  return images.some((image) => {
    const layers = image.config.rootfs.diff_ids;
    return isNamed(image, value) && layers.length > 0 && layers.every((diffId, at) => own[at] === diffId);
  });
}

function isOnNetwork({ record, network }: ContainerSummary, value: string): boolean {
  const { mode } = record.options.network;
  if (mode.type === value || (mode.type === 'bridge' && mode.network === value)) return true;
  return value.length >= 4 && network?.networkId?.startsWith(value) === true;
}

function exposedPorts({ record, network }: ContainerSummary): string[] {
  const { publish, expose } = record.options.network;
  return [
    ...Object.keys(network?.ports ?? {}),
    ...Object.keys(record.image.config.ExposedPorts ?? {}),
    ...expose.map((port) => (port.includes('/') ? port : `${port}/tcp`)),
    ...publish.map(({ containerPort, protocol }) => `${containerPort}/${protocol}`),
  ];
}

/** `80`, `80/udp`, `8000-8010/tcp`. */
function portRange(text: string): { protocol: string; has: (port: number) => boolean } {
  const match = /^([0-9]{1,5})(?:-([0-9]{1,5}))?(?:\/(tcp|udp|sctp))?$/.exec(text);
  if (match === null) throw new Error('expected a port, such as 80, 80/udp or 8000-8010');
  const [, first, last = first, protocol = 'tcp'] = match;
  return { protocol, has: (port) => port >= Number(first) && port <= Number(last) };
}

/** @throws TinyrunError `not_found` in Docker's words */
function find(all: readonly ContainerSummary[], text: string): ContainerSummary {
  const found = all.find(({ id, name }) => name === text || id.startsWith(text));
  if (found === undefined) throw new TinyrunError('not_found', `No such container: ${text}`);
  return found;
}

/** A name filter is a regular expression, as in Docker; one that is none is looked for as it stands. */
function pattern(value: string): RegExp {
  try {
    return new RegExp(value);
  } catch {
    return new RegExp(value.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'));
  }
}
