import type { PressureOf, Stall } from '../cgroups/pressure.ts';
import { isUnpacked } from '../image/layers.ts';
import type { StoredImage } from '../image/stored-image.ts';
import { errnoName } from '../native/errno.ts';
import { inspectNetwork } from '../network/inspect.ts';
import type { Healthcheck } from '../oci/image-spec.ts';
import type { Spec } from '../oci/runtime-spec.ts';
import { familiarName, parseReference } from '../registry/reference.ts';
import { NEVER } from './clock.ts';
import {
  type Container,
  type ContainerRecord,
  containerMounts,
  isUp,
  type StateRecord,
} from './containers.ts';
import type { Core } from './core.ts';
import { readHealth } from './health.ts';
import { hostConfigOf } from './inspect-host-config.ts';
import { lookUp } from './list.ts';
import { readSettings } from './network-facts.ts';

export type Inspection = Readonly<Record<string, unknown>>;

/** A container as Docker's `inspect` shows it, as far as the facts exist. @throws TinyrunError `not_found` */
export async function inspectContainer(core: Core, text: string): Promise<Inspection> {
  const container = await lookUp(core, text);
  const { id, record, status } = container;
  const { options, image } = record;
  const spec = await specOf(core, id);
  const running = status === 'running' || status === 'paused';
  const network = running ? readSettings(core.paths, id) : undefined;
  const env = spec?.process.env ?? [...(image.config.Env ?? []), ...options.env];
  return {
    Id: id,
    Created: record.created,
    Path: record.args[0] ?? '',
    Args: record.args.slice(1),
    State: {
      ...stateOf(container),
      ...healthOf(core, container),
      ...(running ? await strainOf(core, container) : {}),
    },
    Image: image.id,
    ResolvConfPath: core.paths.etcFile(id, 'resolv.conf'),
    HostnamePath: core.paths.etcFile(id, 'hostname'),
    HostsPath: core.paths.etcFile(id, 'hosts'),
    LogPath: options.logDriver === 'json-file' ? core.paths.log(id) : '',
    Name: `/${record.name}`,
    RestartCount: container.state?.restarts ?? 0,
    Driver: 'overlay',
    Platform: image.platform.os,
    MountLabel: '',
    ProcessLabel: '',
    AppArmorProfile: '',
    ExecIDs: null,
    HostConfig: hostConfigOf(options),
    GraphDriver: {
      Name: 'overlay',
      Data: {
        UpperDir: core.paths.upper(id),
        WorkDir: core.paths.work(id),
        MergedDir: core.paths.rootfs(id),
      },
    },
    Mounts: mountsOf(core, container),
    Config: configOf(container, env),
    NetworkSettings: inspectNetwork(network),
  };
}

/** An image as Docker's `image inspect` shows it; undefined where there is none. */
export async function inspectImage(core: Core, text: string): Promise<Inspection | undefined> {
  const store = await core.store();
  const image = store.resolve(text);
  if (image === undefined) return undefined;
  const { config } = image;
  // One that was only pushed or copied here is unpacked when it is first run.
  const lowers = isUnpacked(core.paths, config.rootfs.diff_ids) ? store.lowerDirs(image) : [];
  return {
    Id: image.id,
    RepoTags: image.references.filter((name) => !name.includes('@')).map(familiar),
    RepoDigests: image.repoDigests.map(familiar),
    Created: image.created ?? '',
    Author: config.author ?? '',
    Architecture: config.architecture,
    ...(config.variant === undefined ? {} : { Variant: config.variant }),
    Os: config.os,
    Size: image.size,
    Config: { ...config.config },
    GraphDriver: { Name: 'overlay', Data: lowerOf(lowers) },
    RootFS: { Type: 'layers', Layers: config.rootfs.diff_ids },
    Metadata: { LastTagTime: NEVER },
    Descriptor: descriptorOf(image),
  };
}

function stateOf({ state, status }: Container): Inspection {
  const running = isUp(status);
  const restarting = status === 'restarting';
  return {
    Status: status,
    Running: running,
    Paused: status === 'paused',
    Restarting: restarting,
    OOMKilled: state?.oomKilled ?? false,
    Dead: status === 'dead',
    Pid: running && !restarting ? (state?.pid ?? 0) : 0,
    ExitCode: running && !restarting ? 0 : (state?.exitCode ?? 0),
    Error: state?.error ?? failureText(state?.failure),
    StartedAt: state?.startedAt ?? NEVER,
    FinishedAt: running && !restarting ? NEVER : (state?.finishedAt ?? NEVER),
  };
}

/** Why the monitor could not start it again. It has no sentences, and the plan that had them is gone. */
function failureText(failure: StateRecord['failure']): string {
  if (failure === undefined) return '';
  return `Cannot start the container again: ${errnoName(failure.errno)}`;
}

/** Docker's State.Health, where there is a health check. */
function healthOf(core: Core, container: Container): Inspection {
  const health = readHealth(core, container);
  if (health === undefined) return {};
  const Log = health.log.map(({ start, end, exitCode, output }) => ({
    Start: start,
    End: end,
    ExitCode: exitCode,
    Output: output,
  }));
  return { Health: { Status: health.status, FailingStreak: health.failingStreak, Log } };
}

/** The image's, with what was asked for over it. */
export function healthcheckOf({ image, options }: ContainerRecord): Healthcheck | undefined {
  const asked = options.healthcheck;
  if (asked === undefined) return image.config.Healthcheck;
  if (asked.off === true) return { Test: ['NONE'] };
  return {
    ...image.config.Healthcheck,
    ...optional('Test', asked.command === undefined ? undefined : ['CMD-SHELL', asked.command]),
    ...optional('Interval', asked.interval),
    ...optional('Timeout', asked.timeout),
    ...optional('StartPeriod', asked.startPeriod),
    ...optional('StartInterval', asked.startInterval),
    ...optional('Retries', asked.retries),
  };
}

/** What Docker does not tell: how long the container waits for what it wants, and the most memory it has had. */
async function strainOf(core: Core, { record }: Container): Promise<Inspection> {
  const [{ cgroupOf }, { usageOf }] = await Promise.all([
    import('./container-cgroup.ts'),
    import('./stats.ts'),
  ]);
  const { memoryPeak, pressure } = usageOf(cgroupOf(core, record), '');
  const stalls = Object.entries(pressure).map(([of, { some, full }]) => [
    PRESSURES[of as PressureOf],
    { Some: stallOf(some), ...(full === undefined ? {} : { Full: stallOf(full) }) },
  ]);
  return {
    ...optional('MemoryPeak', memoryPeak),
    ...(stalls.length === 0 ? {} : { Pressure: Object.fromEntries(stalls) }),
  };
}

const PRESSURES: Readonly<Record<PressureOf, string>> = { cpu: 'CPU', memory: 'Memory', io: 'IO' };

function stallOf({ avg10, avg60, avg300, total }: Stall): Inspection {
  return { Avg10: avg10, Avg60: avg60, Avg300: avg300, Total: total };
}

function configOf({ id, record }: Container, env: readonly string[]): Inspection {
  const { options, image } = record;
  const defaults = image.config;
  return {
    Hostname: options.hostname ?? (options.network.mode.type === 'host' ? '' : id.slice(0, 12)),
    Domainname: options.domainname ?? '',
    User: options.user ?? defaults.User ?? '',
    AttachStdin: options.attach.includes('stdin'),
    AttachStdout: options.attach.includes('stdout'),
    AttachStderr: options.attach.includes('stderr'),
    ...optional('ExposedPorts', exposedOf(options.network.expose, defaults.ExposedPorts)),
    Tty: options.tty,
    OpenStdin: options.openStdin,
    StdinOnce: options.openStdin,
    Env: env,
    Cmd:
      options.command.length > 0
        ? options.command
        : options.entrypoint === undefined
          ? (defaults.Cmd ?? null)
          : null,
    ...optional('Healthcheck', healthcheckOf(record)),
    Image: options.image,
    Volumes: defaults.Volumes ?? null,
    WorkingDir: options.workingDir ?? defaults.WorkingDir ?? '',
    Entrypoint: options.entrypoint ?? defaults.Entrypoint ?? null,
    Labels: { ...defaults.Labels, ...options.labels },
    ...optional('StopSignal', options.stopSignal ?? defaults.StopSignal),
    ...optional('StopTimeout', options.stopTimeout),
    ...optional('CreateCommand', options.createCommand?.words),
  };
}

function exposedOf(
  given: readonly string[],
  defaults: Readonly<Record<string, object>> | undefined,
): Record<string, object> | undefined {
  const all = { ...defaults, ...Object.fromEntries(given.map((port) => [port, {}])) };
  return Object.keys(all).length === 0 ? undefined : all;
}

function mountsOf(core: Core, { record }: Container): Inspection[] {
  return containerMounts(record).map((mount) => {
    if (mount.type === 'volume') {
      return {
        Type: 'volume',
        Name: mount.name ?? '',
        Source: core.paths.volumeData(mount.name ?? ''),
        Destination: mount.target,
        Driver: 'local',
        Mode: mount.options.join(',') || 'z',
        RW: !mount.readonly,
        Propagation: '',
      };
    }
    return mount.type === 'bind'
      ? {
          Type: 'bind',
          Source: mount.source,
          Destination: mount.target,
          Mode: mount.options.join(','),
          RW: !mount.readonly,
          Propagation: mount.propagation ?? 'rprivate',
        }
      : {
          Type: 'tmpfs',
          Source: '',
          Destination: mount.target,
          Mode: mount.options.join(','),
          RW: true,
          Propagation: '',
        };
  });
}

async function specOf(core: Core, id: string): Promise<Spec | undefined> {
  const { readJson } = await import('../disk/atomic.ts');
  return readJson(core.paths.config(id), (value) => value as Spec);
}

function lowerOf(directories: readonly string[]): Inspection {
  const [top = '', ...below] = directories;
  return below.length === 0 ? { UpperDir: top } : { UpperDir: top, LowerDir: below.join(':') };
}

function descriptorOf(image: StoredImage): Inspection {
  return { mediaType: image.manifest.mediaType, digest: image.targetDigest };
}

function familiar(reference: string): string {
  return familiarName(parseReference(reference));
}

function optional(key: string, value: unknown): Inspection {
  return value === undefined ? {} : { [key]: value };
}
