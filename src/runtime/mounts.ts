import { TinyrunError } from '../errors.ts';
import type { Op } from '../native/plan.ts';
import type { Mount, Spec } from '../oci/runtime-spec.ts';
import { type ParsedOptions, parseMountOptions } from './mount-options.ts';

/** Where the container's cgroups lie on the host. */
export interface CgroupView {
  /** The container's directory in the one v2 hierarchy, where that has the controllers. */
  readonly cgroupDirectory?: string;
  /** Controller → the container's directory in that hierarchy (v1 and hybrid). */
  readonly directories: Readonly<Record<string, string>>;
}

/** The mounts of config.json, in its order: an entry may lie on an earlier one. Then what becomes read-only when all is in place. */
export function mountOps(spec: Spec, cgroup: CgroupView): { mounts: Op[]; sealed: Op[] } {
  const mounts: Op[] = [];
  const sealed: Op[] = [];
  for (const [index, mount] of spec.mounts.entries()) {
    const options = parseMountOptions(mount.options ?? [], mount.destination);
    checkDestination(mount, options);
    const readonly = options.flags.includes('ro');
    if (mount.type === 'cgroup') {
      const ops = cgroupOps(spec, mount, options, cgroup);
      mounts.push(...ops);
      if (readonly && ops.length > 1) sealed.push(sealOp(mount.destination));
      continue;
    }
    // Mount points are still to be made in it: a tmpfs becomes read-only when they are.
    const later = readonly && mount.type === 'tmpfs' && isParent(mount, spec.mounts.slice(index + 1));
    mounts.push(
      opOf(mount, later ? { ...options, flags: options.flags.filter((flag) => flag !== 'ro') } : options),
    );
    if (later) sealed.push(sealOp(mount.destination));
  }
  return { mounts, sealed };
}

/**
 * A mount over /proc, or in it, would give the process a fake to read its security labels from (CVE-2019-19921, CVE-2015-3631);
 * only files that programs ask for the machine's state may be replaced, as lxcfs does.
 */
function checkDestination(mount: Mount, options: ParsedOptions): void {
  const { destination } = mount;
  if (!destination.startsWith('/') || destination.split('/').includes('..')) {
    throw new TinyrunError(
      'invalid',
      `Cannot mount "${destination}": the path must be absolute and without ".."`,
    );
  }
  if (destination === '/') {
    throw new TinyrunError('invalid', "invalid specification: destination can't be '/'");
  }
  const inside = destination === '/proc' || destination.startsWith('/proc/');
  // With `--pid host` some bind the host's own /proc: that is a procfs as well.
  const isProcfs = mount.type === 'proc' || (options.bind && mount.source === '/proc');
  if (!inside || (destination === '/proc' && isProcfs)) return;
  if (PROC_FILES.has(destination)) return;
  throw new TinyrunError('invalid', `Cannot mount "${destination}": it is inside /proc`);
}

const PROC_FILES: ReadonlySet<string> = new Set([
  '/proc/cpuinfo',
  '/proc/diskstats',
  '/proc/meminfo',
  '/proc/stat',
  '/proc/swaps',
  '/proc/uptime',
  '/proc/loadavg',
  '/proc/slabinfo',
  '/proc/sys/kernel/ns_last_pid',
  '/proc/sys/crypto/fips_enabled',
]);

function isParent({ destination }: Mount, others: readonly Mount[]): boolean {
  return destination === '/dev' || others.some((other) => other.destination.startsWith(`${destination}/`));
}

function opOf(mount: Mount, options: ParsedOptions): Op {
  const { destination: target } = mount;
  const propagation = options.propagation === undefined ? {} : { propagation: options.propagation };
  if (options.bind || mount.type === 'bind') {
    if (mount.source === undefined) {
      throw new TinyrunError('invalid', `Cannot mount "${target}": a bind mount needs a source`);
    }
    return {
      op: 'bind',
      what: `mount "${mount.source}" on "${target}"`,
      source: mount.source,
      target,
      recursive: options.recursive,
      flags: options.flags,
      ...(options.recursiveFlags ? { recursiveFlags: true } : {}),
      ...propagation,
    };
  }
  const fstype = mount.type ?? '';
  if (fstype === '') throw new TinyrunError('invalid', `Cannot mount "${target}": it has no type`);
  return {
    op: 'mount',
    what: `mount ${fstype} on "${target}"`,
    fstype,
    source: mount.source ?? fstype,
    target,
    flags: options.flags,
    data: options.data,
    ...propagation,
  };
}

function sealOp(path: string): Op {
  return { op: 'readonlyPath', what: `make "${path}" read-only`, path };
}

/**
 * `cgroup` of config.json is what the host has. v2: a cgroup2 of our namespace, or the host's whole tree without one.
 * v1: a tmpfs with one directory per hierarchy and in it the container's own cgroup, bound: the same view with and without a
 * cgroup namespace, and one that does not depend on which mounts the host has.
 */
function cgroupOps(spec: Spec, mount: Mount, { flags }: ParsedOptions, cgroup: CgroupView): Op[] {
  const { destination: target } = mount;
  const own = spec.linux.namespaces.some((namespace) => namespace.type === 'cgroup');
  const hierarchies = hierarchiesOf(cgroup.directories);
  if (cgroup.cgroupDirectory !== undefined && hierarchies.length <= 1) {
    const what = `mount the cgroups on "${target}"`;
    return own
      ? [{ op: 'mount', what, fstype: 'cgroup2', source: 'cgroup', target, flags, data: '' }]
      : [
          {
            op: 'bind',
            what,
            source: '/sys/fs/cgroup',
            target,
            recursive: true,
            flags,
            recursiveFlags: true,
            propagation: 'rprivate',
          },
        ];
  }
  const ops: Op[] = [
    {
      op: 'mount',
      what: `mount the cgroups on "${target}"`,
      fstype: 'tmpfs',
      source: 'tmpfs',
      target,
      flags: flags.filter((flag) => flag !== 'ro'),
      data: 'mode=755',
    },
  ];
  for (const { name, controllers, directory } of hierarchies) {
    ops.push({
      op: 'bind',
      what: `mount the cgroup "${directory}" on "${target}/${name}"`,
      source: directory,
      target: `${target}/${name}`,
      recursive: false,
      flags,
      propagation: 'rprivate',
    });
    for (const controller of controllers.length > 1 ? controllers : []) {
      ops.push({
        op: 'symlinkInRoot',
        what: `link "${target}/${controller}" to "${name}"`,
        target: name,
        path: `${target}/${controller}`,
      });
    }
  }
  return ops;
}

/** Controllers that share a directory share a hierarchy: `cpu,cpuacct`. */
function hierarchiesOf(
  directories: Readonly<Record<string, string>>,
): { name: string; controllers: string[]; directory: string }[] {
  const byDirectory = new Map<string, string[]>();
  for (const [controller, directory] of Object.entries(directories)) {
    byDirectory.set(directory, [...(byDirectory.get(directory) ?? []), controller.replace(/^name=/, '')]);
  }
  return [...byDirectory].map(([directory, controllers]) => ({
    name: controllers.join(','),
    controllers,
    directory,
  }));
}
