import type { Op } from '../native/plan.ts';
import type { DeviceRule, Resources } from '../oci/runtime-spec.ts';
import { deviceFilter } from './device-filter.ts';
import type { CgroupHost } from './host.ts';
import { type CgroupWrite, writesForV1, writesForV2 } from './writes.ts';

/** What a launch plan needs to put a container into a cgroup of its own, and to take that cgroup away again. */
export interface CgroupPlan {
  readonly prepare: readonly Op[];
  /** Joins, by the child itself: v1 `tasks` ← "0". A write to cgroup.procs would cost 6–18 ms (a grace period). */
  readonly child: readonly Op[];
  /** v2: the child is born there (CLONE_INTO_CGROUP). */
  readonly cgroupDirectory?: string;
  readonly cleanup: readonly Op[];
  /** A file with a line `oom_kill N`. */
  readonly oomPath?: string;
  /** The directory whose processes are the container's. */
  readonly killPath?: string;
  /** Controller → the container's directory; `unified` on v2 and hybrid. */
  readonly directories: Readonly<Record<string, string>>;
}

/** How long a dying cgroup may keep its directory busy. */
const RMDIR_PATIENCE_MS = 2000;
const KILL_PATIENCE_MS = 5000;

/**
 * The cgroup of one container, as operations: nothing is touched here.
 * @param cgroupsPath absolute below the hierarchy's root, such as `/tinyrun/<id>`
 */
export function planCgroup(host: CgroupHost, cgroupsPath: string, resources: Resources): CgroupPlan {
  if (host.version === 'v2') return planV2(host, cgroupsPath, resources);
  if (host.version === 'v1') return planV1(host, cgroupsPath, resources);
  return { prepare: [], child: [], cleanup: [], directories: {} };
}

/**
 * The directories of {@link planCgroup} alone, for containers that run: without a look at what is in them.
 * @param base of {@link unifiedBase}, where the caller asks for many
 */
export function cgroupDirectories(
  host: CgroupHost,
  cgroupsPath: string,
  base = host.unified === undefined ? '' : unifiedBase(host),
): Readonly<Record<string, string>> {
  if (host.version !== 'v1' && host.version !== 'v2') return {};
  const directories: Record<string, string> = {};
  if (host.version === 'v1') {
    for (const [controller, mount] of Object.entries(host.mounts)) {
      directories[controller] = `${mount}${cgroupsPath}`;
    }
  }
  if (host.version === 'v2' || host.unified !== undefined) directories.unified = `${base}${cgroupsPath}`;
  return directories;
}

function planV2(host: CgroupHost, cgroupsPath: string, resources: Resources): CgroupPlan {
  const base = unifiedBase(host);
  const directory = `${base}${cgroupsPath}`;
  const prepare: Op[] = [];
  const parents = parentsOf(base, cgroupsPath);
  prepare.push(...evacuate(host, base));
  for (const [index, parent] of parents.entries()) {
    if (index > 0) prepare.push(makeDirectory(parent));
    prepare.push(...delegate(host, parent));
  }
  prepare.push(makeDirectory(directory));
  for (const write of writesForV2(resources)) prepare.push(writeOp(directory, write));
  if (resources.devices !== undefined) {
    prepare.push({
      op: 'deviceFilter',
      path: directory,
      program: deviceFilter(resources.devices),
      what: 'attach the device filter to the cgroup (the kernel needs CONFIG_CGROUP_BPF)',
    });
  }
  return {
    prepare,
    child: [],
    cgroupDirectory: directory,
    cleanup: removal([directory], directory),
    oomPath: `${directory}/memory.events`,
    killPath: directory,
    directories: { unified: directory },
  };
}

/**
 * In a container, the root of the cgroup namespace is an ordinary cgroup with processes in it, ours among them, so it
 * hands no controller down ("no internal process" rule). They move one level down, once: later starts find it empty.
 * @see https://docs.kernel.org/admin-guide/cgroup-v2.html#no-internal-process-constraint
 */
function evacuate(host: CgroupHost, base: string): readonly Op[] {
  const processes = host.read(`${base}/cgroup.type`) === 'domain' ? host.read(`${base}/cgroup.procs`) : '';
  if (processes === undefined || processes === '') return [];
  const refuge = `${base}/init`;
  // A listed 0 is a process of an outer pid namespace: not ours to move. A written 0 is the monitor, younger than the list.
  const pids = processes.split('\n').filter((pid) => /^[1-9]\d*$/.test(pid));
  return [
    makeDirectory(refuge),
    ...[...pids, '0'].map(
      (pid): Op => ({
        op: 'writeFile',
        path: `${refuge}/cgroup.procs`,
        text: pid,
        optional: true,
        what: `move process ${pid} out of the way, into the cgroup "${refuge}"`,
      }),
    ),
  ];
}

/** Hands the controllers of `parent` to its children, as far as that has not happened yet. */
function delegate(host: CgroupHost, parent: string): readonly Op[] {
  const enabled = new Set((host.read(`${parent}/cgroup.subtree_control`) ?? '').split(' '));
  const useful = (host.unified?.controllers ?? []).filter(
    (name) => V2_CONTROLLERS.has(name) && !enabled.has(name),
  );
  // One by one: the kernel refuses a whole line for one controller that is busy elsewhere (v1, real-time tasks).
  return useful.map((name) => ({
    op: 'writeFile',
    path: `${parent}/cgroup.subtree_control`,
    text: `+${name}`,
    optional: true,
    what: `enable the cgroup controller "${name}" below "${parent}"`,
  }));
}

const V2_CONTROLLERS = new Set(['cpuset', 'cpu', 'io', 'memory', 'pids', 'hugetlb', 'rdma', 'misc']);

/**
 * Where in the unified hierarchy tinyrun may make cgroups. At the true root (which alone has no cgroup.type) that is the
 * root. Elsewhere (in a container, in a delegated scope) it is the nearest ancestor of our own cgroup that holds no
 * process and is not threaded: there controllers can be handed down ("no internal process" rule).
 * @see https://docs.kernel.org/admin-guide/cgroup-v2.html#no-internal-process-constraint
 */
export function unifiedBase(host: CgroupHost): string {
  const mount = host.unified?.mount ?? '/sys/fs/cgroup';
  if (host.read(`${mount}/cgroup.type`) === undefined) return mount;
  const parts = host.ownUnified.split('/').filter(Boolean);
  for (let depth = parts.length; depth >= 0; depth -= 1) {
    const directory = [mount, ...parts.slice(0, depth)].join('/');
    if (host.read(`${directory}/cgroup.type`) === 'domain' && host.read(`${directory}/cgroup.procs`) === '') {
      return directory;
    }
  }
  return mount;
}

function planV1(host: CgroupHost, cgroupsPath: string, resources: Resources): CgroupPlan {
  const prepare: Op[] = [];
  const child: Op[] = [];
  const directories: Record<string, string> = {};
  // cpu and cpuacct may be one hierarchy: a directory of it is made and joined once.
  const mounts = new Map<string, string>();
  for (const [controller, mount] of Object.entries(host.mounts)) {
    directories[controller] = `${mount}${cgroupsPath}`;
    if (!mounts.has(mount)) mounts.set(mount, controller);
  }
  for (const mount of mounts.keys()) {
    const hasCpuset = directories.cpuset === `${mount}${cgroupsPath}`;
    for (const parent of parentsOf(mount, cgroupsPath).slice(1)) {
      prepare.push(makeDirectory(parent));
      if (hasCpuset) prepare.push(...inheritCpuset(host, mount, parent));
    }
    const directory = `${mount}${cgroupsPath}`;
    prepare.push(makeDirectory(directory));
    if (hasCpuset) prepare.push(...inheritCpuset(host, mount, directory));
    child.push({
      op: 'writeFile',
      path: `${directory}/tasks`,
      text: '0',
      what: `join the cgroup "${directory}"`,
    });
  }
  for (const write of writesForV1(resources)) {
    const directory = directories[write.controller];
    if (directory !== undefined) prepare.push(writeOp(directory, write));
  }
  if (directories.devices !== undefined)
    prepare.push(...deviceOps(directories.devices, resources.devices ?? []));
  return { ...withUnified(host, cgroupsPath, { prepare, child, directories }), ...oomOf(directories) };
}

/** A hybrid host: the unified hierarchy has no controllers to speak of, but it has cgroup.kill and CLONE_INTO_CGROUP. */
function withUnified(
  host: CgroupHost,
  cgroupsPath: string,
  plan: {
    readonly prepare: Op[];
    readonly child: readonly Op[];
    readonly directories: Record<string, string>;
  },
): CgroupPlan {
  const own = [...new Set(Object.values(plan.directories))];
  const mount = host.unified?.mount;
  if (mount === undefined) {
    const kill = plan.directories.freezer ?? plan.directories.pids ?? own[0];
    return { ...plan, cleanup: removal(own, kill), ...(kill === undefined ? {} : { killPath: kill }) };
  }
  const directory = `${unifiedBase(host)}${cgroupsPath}`;
  for (const parent of parentsOf(unifiedBase(host), cgroupsPath).slice(1))
    plan.prepare.push(makeDirectory(parent));
  plan.prepare.push(makeDirectory(directory));
  plan.directories.unified = directory;
  return {
    ...plan,
    cgroupDirectory: directory,
    cleanup: removal([...own, directory], directory),
    killPath: directory,
  };
}

function oomOf(directories: Readonly<Record<string, string>>): { readonly oomPath?: string } {
  return directories.memory === undefined ? {} : { oomPath: `${directories.memory}/memory.oom_control` };
}

/** A new v1 cpuset is empty and nothing can join it: cpus and mems are copied from above, before anything else. */
function inheritCpuset(host: CgroupHost, mount: string, directory: string): readonly Op[] {
  return ['cpuset.cpus', 'cpuset.mems'].flatMap((file) => {
    if ((host.read(`${directory}/${file}`) ?? '') !== '') return [];
    const value =
      host.read(`${directory.slice(0, directory.lastIndexOf('/'))}/${file}`) || host.read(`${mount}/${file}`);
    if (value === undefined || value === '') return [];
    return [
      {
        op: 'writeFile',
        path: `${directory}/${file}`,
        text: value,
        what: `set ${file} of "${directory}"`,
      } as const,
    ];
  });
}

function deviceOps(directory: string, rules: readonly DeviceRule[]): readonly Op[] {
  return rules.map((rule) => {
    const number = (value: number | undefined): string =>
      value === undefined || value < 0 ? '*' : String(value);
    const all =
      (rule.type === undefined || rule.type === 'a') && rule.major === undefined && rule.minor === undefined;
    const text = all
      ? 'a'
      : `${rule.type ?? 'a'} ${number(rule.major)}:${number(rule.minor)} ${rule.access ?? 'rwm'}`;
    return {
      op: 'writeFile',
      path: `${directory}/${rule.allow ? 'devices.allow' : 'devices.deny'}`,
      text,
      what: `${rule.allow ? 'allow' : 'deny'} devices "${text}"`,
    };
  });
}

function makeDirectory(path: string): Op {
  return { op: 'mkdir', path, mode: 0o755, existing: true, what: `make the cgroup "${path}"` };
}

function writeOp(directory: string, write: CgroupWrite): Op {
  return {
    op: 'writeFile',
    path: `${directory}/${write.file}`,
    text: write.value,
    what: `set ${write.file} to "${write.value}"`,
    ...(write.optional === true ? { optional: true } : {}),
  };
}

/** `/a/b/c` below `base`: `base`, `base/a`, `base/a/b`. */
function parentsOf(base: string, path: string): readonly string[] {
  const parts = path.split('/').filter(Boolean);
  return parts.map((_, index) => [base, ...parts.slice(0, index)].join('/'));
}

function removal(directories: readonly string[], kill: string | undefined): readonly Op[] {
  const ops: Op[] = [];
  if (kill !== undefined) {
    ops.push({
      op: 'killCgroup',
      path: kill,
      patienceMs: KILL_PATIENCE_MS,
      optional: true,
      what: `kill what is left in the cgroup "${kill}"`,
    });
  }
  for (const path of directories) {
    ops.push({
      op: 'rmdir',
      path,
      patienceMs: RMDIR_PATIENCE_MS,
      optional: true,
      what: `remove the cgroup "${path}"`,
    });
  }
  return ops;
}

/** tinyrun's own parent cgroups of a path such as `/tinyrun`, deepest first: what a reset has to remove. */
export function directoriesOf(host: CgroupHost, cgroupsPath: string): readonly string[] {
  const bases = new Set(Object.values(host.mounts));
  if (host.unified !== undefined) bases.add(unifiedBase(host));
  return [...bases].map((base) => `${base}${cgroupsPath}`);
}
