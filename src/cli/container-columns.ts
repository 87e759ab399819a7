import { containerMounts } from '../engine/containers.ts';
import type { ContainerSummary, MountRequest } from '../engine/index.ts';
import { ago, humanDuration } from './duration.ts';
import { displayPorts } from './published-ports.ts';
import { humanSize } from './size.ts';
import { ellipsis } from './table.ts';

export const CONTAINER_COLUMNS = {
  headings: {
    ID: 'CONTAINER ID',
    Names: 'NAMES',
    Image: 'IMAGE',
    Command: 'COMMAND',
    CreatedAt: 'CREATED AT',
    RunningFor: 'CREATED',
    Ports: 'PORTS',
    State: 'STATE',
    Status: 'STATUS',
    Size: 'SIZE',
    Labels: 'LABELS',
    Mounts: 'MOUNTS',
    LocalVolumes: 'LOCAL VOLUMES',
    Networks: 'NETWORKS',
    Platform: 'PLATFORM',
    HealthStatus: 'HEALTH',
    Label: heading,
  },
  table: '{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}',
} as const;

/** The columns of `--size`. */
export const SIZE_COLUMN = '\t{{.Size}}';

type Fields = Readonly<Record<Exclude<keyof (typeof CONTAINER_COLUMNS)['headings'], 'Label'>, string>> & {
  /** `{{.Label "key"}}` */
  readonly Label: (key: string) => string;
};

/** Of `{{.Label "com.example.some-key"}}`: `some key`. */
function heading(key = ''): string {
  return (key.split('.').at(-1) ?? '').replace(/[-_]/g, ' ');
}

const COMMAND_WIDTH = 20;
const MOUNT_WIDTH = 15;

/** What `ps` shows of a container, by Docker's field names. */
export function containerColumns(how: {
  readonly now: number;
  readonly truncate: boolean;
}): (container: ContainerSummary) => Fields {
  return (container) => {
    const { record, size } = container;
    const labels = { ...record.image.config.Labels, ...record.options.labels };
    const command = JSON.stringify(
      how.truncate ? ellipsis(commandLine(record.args), COMMAND_WIDTH) : commandLine(record.args),
    );
    return {
      ID: how.truncate ? record.id.slice(0, 12) : record.id,
      Names: record.name,
      Image: record.options.image,
      Command: command,
      CreatedAt: createdAt(record.created),
      RunningFor: ago(record.created, how.now),
      Ports: displayPorts(container.network?.ports ?? {}),
      State: container.status,
      Status: statusText(container, how.now),
      Size: size === undefined ? '0B' : `${humanSize(size.own)} (virtual ${humanSize(size.virtual)})`,
      Labels: labelsText(labels),
      Label: (key) => labels[key] ?? '',
      Mounts: containerMounts(record)
        .map(mountSource)
        .map((name) => (how.truncate ? ellipsis(name, MOUNT_WIDTH) : name))
        .join(','),
      LocalVolumes: String(containerMounts(record).filter(({ type }) => type === 'volume').length),
      Networks: networkName(container),
      Platform: platformText(record.image.platform),
      HealthStatus: container.health ?? '',
    };
  };
}

function mountSource(mount: MountRequest): string {
  if (mount.type === 'bind') return mount.source;
  return mount.type === 'volume' ? (mount.name ?? '') : mount.target;
}

/** `Up 3 minutes`, `Exited (0) 2 hours ago`, `Created`. */
export function statusText({ status, state, health }: ContainerSummary, now: number): string {
  switch (status) {
    case 'running':
      return `Up ${humanDuration(now - Date.parse(state?.startedAt ?? ''))}${healthText(health)}`;
    case 'restarting':
      return `Restarting (${state?.exitCode ?? 0}) ${ago(state?.finishedAt, now)}`;
    case 'paused':
      return `Up ${humanDuration(now - Date.parse(state?.startedAt ?? ''))} (Paused)`;
    case 'exited':
      return `Exited (${state?.exitCode ?? 0})${state?.finishedAt === undefined ? '' : ` ${ago(state.finishedAt, now)}`}`;
    case 'removing':
      return 'Removal In Progress';
    default:
      return status.charAt(0).toUpperCase() + status.slice(1);
  }
}

/** As Docker shows it. */
function healthText(health: ContainerSummary['health']): string {
  if (health === undefined) return '';
  return health === 'starting' ? ' (health: starting)' : ` (${health})`;
}

/** Go's default form of a time, in UTC. */
function createdAt(time: string): string {
  return `${time.slice(0, 10)} ${time.slice(11, 19)} +0000 UTC`;
}

function labelsText(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([key, value]) => `${key}=${value}`)
    .sort()
    .join(',');
}

function platformText(platform: { os: string; architecture: string; variant?: string }): string {
  return [platform.os, platform.architecture, platform.variant]
    .filter((part) => part !== undefined)
    .join('/');
}

function networkName({ record }: ContainerSummary): string {
  const { mode, more = [] } = record.options.network;
  if (mode.type === 'bridge') return [mode.network, ...more.map(({ network }) => network)].join(',');
  return mode.type === 'container' ? '' : mode.type;
}

/** As Docker shows it: a word with blanks stands in single quotes. */
function commandLine(args: readonly string[]): string {
  return args.map((word) => (/\s/.test(word) ? `'${word}'` : word)).join(' ');
}
