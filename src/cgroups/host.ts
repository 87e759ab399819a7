import { existsSync, readFileSync } from 'node:fs';
import { TinyrunError } from '../errors.ts';

/** The cgroups of this machine, as facts. */
export interface CgroupHost {
  /** `v2`: the resource controllers are in the unified hierarchy. `v1`: in hierarchies of their own (hybrid counts as v1). */
  readonly version: 'v1' | 'v2' | 'none';
  /** v1: controller (`memory`, `cpu`, …, `name=systemd`) → where its hierarchy is mounted. */
  readonly mounts: Readonly<Record<string, string>>;
  /** v2: where cgroup2 is mounted, and which controllers its root has. */
  readonly unified?: { readonly mount: string; readonly controllers: readonly string[] };
  /** tinyrun's own cgroup in the unified hierarchy: the place to use where the root is not ours to use. */
  readonly ownUnified: string;
  /** v1: swap is accounted (memory.memsw.* is there). */
  readonly swapAccounting: boolean;
  /** A file of a cgroup directory, trimmed, or undefined where it cannot be read. */
  read(path: string): string | undefined;
}

const V1_CONTROLLERS = new Set([
  'cpu',
  'cpuacct',
  'cpuset',
  'memory',
  'pids',
  'blkio',
  'devices',
  'freezer',
  'net_cls',
  'net_prio',
  'perf_event',
  'hugetlb',
  'rdma',
  'misc',
]);

/** The controllers without which a hierarchy is of no use for limits. */
const RESOURCE_CONTROLLERS = ['memory', 'cpu', 'pids'];

/**
 * Tells v2 from v1 and hybrid by where the resource controllers are.
 * @param texts contents of /proc/self/mountinfo and /proc/self/cgroup
 * @see https://docs.kernel.org/admin-guide/cgroup-v2.html#mounting
 */
export function detectCgroups(
  texts: { readonly mountinfo: string; readonly selfCgroup: string },
  read: (path: string) => string | undefined,
): CgroupHost {
  const mounts: Record<string, string> = {};
  let unifiedMount: string | undefined;
  for (const line of texts.mountinfo.split('\n')) {
    const [before, after] = line.split(' - ');
    if (before === undefined || after === undefined) continue;
    const [fstype = '', , superOptions = ''] = after.split(' ');
    const mountPoint = unescapeMountinfo(before.split(' ')[4] ?? '');
    if (fstype === 'cgroup2') unifiedMount ??= mountPoint;
    if (fstype !== 'cgroup') continue;
    for (const option of superOptions.split(',')) {
      if (V1_CONTROLLERS.has(option) || option.startsWith('name=')) mounts[option] ??= mountPoint;
    }
  }
  const controllers =
    unifiedMount === undefined
      ? []
      : (read(`${unifiedMount}/cgroup.controllers`) ?? '').split(' ').filter(Boolean);
  const ownUnified = /^0::(.*)$/m.exec(texts.selfCgroup)?.[1] ?? '/';
  const isV2 = RESOURCE_CONTROLLERS.some((name) => controllers.includes(name));
  const isV1 = RESOURCE_CONTROLLERS.some((name) => mounts[name] !== undefined);
  const memory = mounts.memory;
  return {
    version: isV2 ? 'v2' : isV1 ? 'v1' : 'none',
    mounts: isV2 ? {} : mounts,
    ...(unifiedMount === undefined ? {} : { unified: { mount: unifiedMount, controllers } }),
    ownUnified,
    swapAccounting:
      isV2 || (memory !== undefined && read(`${memory}/memory.memsw.limit_in_bytes`) !== undefined),
    read,
  };
}

/** The cgroups of the machine that we run on; some 100 µs. */
export function hostCgroups(): CgroupHost {
  return detectCgroups(
    {
      mountinfo: readFileSync('/proc/self/mountinfo', 'utf8'),
      selfCgroup: readFileSync('/proc/self/cgroup', 'utf8'),
    },
    readTrimmed,
  );
}

function readTrimmed(path: string): string | undefined {
  // Half of what a plan asks for is not there, and an error takes Node ten times as long.
  if (!existsSync(path)) return undefined;
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return undefined;
  }
}

/** Space, tab, newline and backslash are octal in mountinfo: proc_pid_mountinfo(5). */
function unescapeMountinfo(text: string): string {
  return text.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
}

/**
 * A cgroup path from outside (`--cgroup-parent`), absolute and free of tricks.
 * @throws TinyrunError `invalid` for `..`, newlines and systemd slices (which need systemd as the manager)
 */
export function parseCgroupParent(text: string): string {
  if (/[\0\n]/.test(text) || text.split('/').includes('..')) {
    throw new TinyrunError('invalid', `Cannot use cgroup parent "${text}": expected a path without ".."`);
  }
  if (text.endsWith('.slice') && !text.includes('/')) {
    throw new TinyrunError(
      'unsupported',
      `Cannot use cgroup parent "${text}": slices need the systemd cgroup manager`,
      {
        hint: `tinyrun writes cgroups itself; give a path, such as "/${text.slice(0, -'.slice'.length)}"`,
      },
    );
  }
  return `/${text.split('/').filter(Boolean).join('/')}`;
}
