import type { CloneNamespace, LaunchPlan, MonitorOptions, Op } from '../native/plan.ts';
import type { Device, Linux, NamespaceType, Spec } from '../oci/runtime-spec.ts';
import { DEFAULT_NETWORK_SYSCTLS } from './defaults.ts';
import { DEFAULT_DEVICES } from './devices.ts';
import { type CgroupView, mountOps } from './mounts.ts';
import { processOps } from './process.ts';
import { type OverlayInput, propagationOps, rootOps } from './root.ts';
import { sysctlPath } from './sysctl.ts';
import { validate } from './validate.ts';

/** The container's cgroup, from `planCgroup()`. */
export interface CgroupOps extends CgroupView {
  readonly prepare: readonly Op[];
  /** Joins by the child itself (v1). */
  readonly child: readonly Op[];
  readonly cleanup: readonly Op[];
  readonly oomPath?: string;
  readonly killPath?: string;
}

export interface NetworkOps {
  readonly prepare: readonly Op[];
  readonly child: readonly Op[];
  readonly connect: readonly Op[];
  readonly release: readonly Op[];
}

/** How the monitor looks after the container and tells of it. */
export type Supervision = Pick<MonitorOptions, 'journal' | 'removes' | 'restart' | 'lifetimeMs' | 'health'>;

/** What the launch needs beyond config.json. */
export interface CompileInput {
  readonly id: string;
  readonly paths: { readonly statePath: string; readonly attachSocket?: string };
  readonly log?: MonitorOptions['log'];
  /** Absent: `root.path` itself is the root (`--rootfs`, OCI bundles). */
  readonly overlay?: OverlayInput;
  readonly cgroup: CgroupOps;
  readonly network: NetworkOps;
  /** From `seccompProgramFor()`; absent: unconfined. */
  readonly seccompProgram?: Uint8Array;
  /** What the monitor does besides, that no config.json knows of. */
  readonly supervision?: Supervision;
  /** From `probeOps()`, for `supervision.health`. */
  readonly probe?: readonly Op[];
  readonly openStdin: boolean;
  readonly stdinOnce: boolean;
  /** Put a reaping init in front of the program (`--init`). */
  readonly init: boolean;
  /** In the root, after the spec's mounts: what no spec can say (files of layers, for a RUN of a build). */
  readonly extraMounts?: readonly Op[];
  /** The program is killed when who started it goes away. */
  readonly withClient?: boolean;
  readonly extraPrepare: readonly Op[];
  readonly extraRelease: readonly Op[];
  readonly extraCleanup: readonly Op[];
}

/**
 * config.json → the flat list of what to do. Pure: the same spec gives the same plan, and the order of the ops is the
 * whole story of how a container comes to be.
 * @throws TinyrunError `unsupported` for what the plan cannot express, `invalid` for what makes no sense, StartError 127
 */
export function compile(spec: Spec, input: CompileInput): LaunchPlan {
  validate(spec);
  const { cgroup, network } = input;
  return {
    monitor: monitorOptions(spec, input),
    namespaces: cloneNamespaces(spec.linux),
    ...(cgroup.cgroupDirectory === undefined ? {} : { cgroupDirectory: cgroup.cgroupDirectory }),
    prepare: [...input.extraPrepare, ...cgroup.prepare, ...network.prepare],
    child: childOps(spec, input),
    connect: [...network.connect],
    release: [...network.release, ...portOps(network), ...input.extraRelease],
    cleanup: [...cgroup.cleanup, ...input.extraCleanup],
    ...(input.probe === undefined ? {} : { probe: input.probe }),
  };
}

function monitorOptions(spec: Spec, input: CompileInput): MonitorOptions {
  const { paths, log, cgroup } = input;
  return {
    id: input.id,
    statePath: paths.statePath,
    ...(log === undefined ? {} : { log }),
    ...(paths.attachSocket === undefined ? {} : { attachSocket: paths.attachSocket }),
    tty: spec.process.terminal === true,
    openStdin: input.openStdin,
    stdinOnce: input.stdinOnce,
    ...(input.withClient === true ? { withClient: true } : {}),
    ...input.supervision,
    ...(cgroup.oomPath === undefined ? {} : { oomPath: cgroup.oomPath }),
    ...(cgroup.killPath === undefined ? {} : { killPath: cgroup.killPath }),
  };
}

/** The firewall must not know a port any more when the next container can have it, and the name is given back after that. */
function portOps({ prepare }: NetworkOps): Op[] {
  if (!prepare.some((op) => op.op === 'listen')) return [];
  return [{ op: 'closePorts', what: 'give the ports back' }];
}

const CLONED: readonly CloneNamespace[] = ['user', 'mount', 'pid', 'uts', 'ipc', 'network'];

/** Those that are new. cgroup and time are not: see `childOps()`. */
function cloneNamespaces(linux: Linux): CloneNamespace[] {
  return CLONED.filter((type) => hasOwn(linux, type));
}

function hasOwn(linux: Linux, type: NamespaceType): boolean {
  return linux.namespaces.some((entry) => entry.type === type && entry.path === undefined);
}

/** The child's list, in runc's order; each step says why it is where it is. */
function childOps(spec: Spec, input: CompileInput): Op[] {
  const { mounts, sealed } = mountOps(spec, input.cgroup);
  return [
    // First of all, so that everything that follows is charged to the container and happens in its namespaces.
    ...joinOps(spec.linux),
    ...input.cgroup.child,
    ...unshareOps(spec.linux),
    ...userNamespaceOps(spec.linux),
    ...scoreOps(spec),
    ...rootOps(spec, input.overlay),
    ...mounts,
    ...(input.extraMounts ?? []),
    ...deviceOps(spec),
    // As late as the old root allows: the monitor wires the network up while the child mounts.
    ...(input.network.connect.length === 0
      ? []
      : [{ op: 'await', what: 'wait for the network', tag: 'connected' } satisfies Op]),
    ...input.network.child,
    { op: 'pivotRoot', what: 'make the image the root' },
    ...propagationOps(spec.linux),
    // After pivot_root, where a symbolic link in the image cannot lead out of it any more (CVE-2025-52565).
    ...consoleOps(spec),
    // Before the root becomes read-only; entered for good in `processOps`, when what has to be masked is.
    ...cwdOps(spec),
    ...sealed,
    ...(spec.root.readonly === true
      ? [{ op: 'readonlyRoot', what: 'make the root read-only' } satisfies Op]
      : []),
    { op: 'umask', what: 'set the umask', mask: spec.process.user.umask ?? 0o022 },
    ...nameOps(spec),
    // After the network, for the sysctls of its interfaces; before /proc/sys becomes read-only.
    ...sysctlOps(spec),
    ...protectionOps(spec.linux),
    // Where pid 1 is somebody else, as with `--pid host`, there is one that reaps already.
    ...processOps(spec, input.seccompProgram, input.init && hasOwn(spec.linux, 'pid')),
  ];
}

function joinOps(linux: Linux): Op[] {
  // The user namespace first: it owns the others.
  const joined = [...linux.namespaces].sort((a, b) => Number(b.type === 'user') - Number(a.type === 'user'));
  return joined.flatMap(({ type, path }): Op[] =>
    path === undefined || type === 'mount'
      ? []
      : [{ op: 'joinNamespace', what: `join the ${type} namespace "${path}"`, path, type }],
  );
}

/** After the cgroup has been joined: what is the root of the namespace is fixed at that moment. */
function unshareOps(linux: Linux): Op[] {
  return linux.namespaces.flatMap(({ type, path }): Op[] =>
    path === undefined && (type === 'cgroup' || type === 'time')
      ? [{ op: 'unshare', what: `make a ${type} namespace`, type }]
      : [],
  );
}

function userNamespaceOps(linux: Linux): Op[] {
  if (!hasOwn(linux, 'user')) return [];
  const map = (mappings: Linux['uidMappings'] = []): string =>
    mappings.map(({ containerID, hostID, size }) => `${containerID} ${hostID} ${size}\n`).join('');
  return [
    {
      op: 'mapIds',
      what: 'map the ids of the user namespace',
      uidMap: map(linux.uidMappings),
      gidMap: map(linux.gidMappings),
    },
    { op: 'await', what: 'wait for the id mappings', tag: 'mapped' },
  ];
}

/** While the host's /proc is still there. */
function scoreOps(spec: Spec): Op[] {
  const score = spec.process.oomScoreAdj;
  if (score === undefined) return [];
  return [
    {
      op: 'writeFile',
      what: `set oom_score_adj to ${score}`,
      path: '/proc/self/oom_score_adj',
      text: String(score),
    },
  ];
}

const DEV_LINKS: readonly (readonly [path: string, target: string])[] = [
  ['/dev/ptmx', 'pts/ptmx'],
  ['/dev/fd', '/proc/self/fd'],
  ['/dev/stdin', '/proc/self/fd/0'],
  ['/dev/stdout', '/proc/self/fd/1'],
  ['/dev/stderr', '/proc/self/fd/2'],
  ['/dev/core', '/proc/kcore'],
];

/** None where /dev is a directory of the host: it has them, and it is not ours to change. */
function deviceOps(spec: Spec): Op[] {
  const foreign = spec.mounts.some(
    ({ destination, type, options = [] }) =>
      destination === '/dev' && (type === 'bind' || options.includes('bind') || options.includes('rbind')),
  );
  if (foreign) return [];
  // The spec's own come first: the first to make a node wins, and a user may have asked for another mode.
  const nodes = new Map<string, Device>();
  for (const device of [...(spec.linux.devices ?? []), ...DEFAULT_DEVICES]) {
    if (!nodes.has(device.path) && device.path !== '/dev/ptmx') nodes.set(device.path, device);
  }
  return [
    ...[...nodes.values()].map(mknodOp),
    ...DEV_LINKS.map(
      ([path, target]): Op => ({ op: 'symlinkInRoot', what: `link "${path}" to "${target}"`, target, path }),
    ),
  ];
}

function mknodOp(device: Device): Op {
  return {
    op: 'mknod',
    what: `make device "${device.path}"`,
    path: device.path,
    type: device.type === 'u' ? 'c' : device.type,
    mode: device.fileMode ?? 0o666,
    major: device.major,
    minor: device.minor,
    uid: device.uid ?? 0,
    gid: device.gid ?? 0,
  };
}

function consoleOps(spec: Spec): Op[] {
  if (spec.process.terminal !== true) return [];
  const { height = 0, width = 0 } = spec.process.consoleSize ?? {};
  return [{ op: 'console', what: 'open a terminal', rows: height, columns: width }];
}

function cwdOps(spec: Spec): Op[] {
  const { cwd } = spec.process;
  if (cwd === '/') return [];
  return [{ op: 'cwd', what: `make the working directory "${cwd}"`, path: cwd, create: true }];
}

function nameOps(spec: Spec): Op[] {
  const ops: Op[] = [];
  if (spec.hostname)
    ops.push({ op: 'hostname', what: `set the host name "${spec.hostname}"`, name: spec.hostname });
  if (spec.domainname) {
    ops.push({ op: 'domainname', what: `set the domain name "${spec.domainname}"`, name: spec.domainname });
  }
  return ops;
}

function sysctlOps(spec: Spec): Op[] {
  return Object.entries(spec.linux.sysctl ?? {}).map(([name, value]) => ({
    op: 'sysctl',
    what: `set sysctl "${name}"`,
    key: sysctlPath(name),
    value,
    // Docker's own defaults: a kernel without the key must not keep a container from starting.
    ...(DEFAULT_NETWORK_SYSCTLS[name] === value ? { optional: true } : {}),
  }));
}

function protectionOps(linux: Linux): Op[] {
  return [
    ...(linux.readonlyPaths ?? []).map(
      (path): Op => ({ op: 'readonlyPath', what: `make "${path}" read-only`, path }),
    ),
    ...[...new Set(linux.maskedPaths ?? [])].map(
      (path): Op => ({ op: 'maskPath', what: `mask "${path}"`, path }),
    ),
  ];
}
