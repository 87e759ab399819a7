import { readdirSync, readFileSync } from 'node:fs';
import { type CgroupHost, hostCgroups } from '../cgroups/host.ts';
import { cgroupDirectories } from '../cgroups/plan.ts';
import { errorCode } from '../errors.ts';
import { cgroupsPathOf } from './cgroup-path.ts';
import type { ContainerRecord } from './containers.ts';
import type { Core } from './core.ts';

/** Where a container's cgroups are: they exist as long as it runs. */
export interface ContainerCgroup {
  readonly host: CgroupHost;
  /** Controller → directory; `unified` on v2 and hybrid. */
  readonly directories: Readonly<Record<string, string>>;
}

/** @param base of `unifiedBase()`, where the caller asks for many containers */
export function cgroupOf(
  core: Core,
  record: ContainerRecord,
  host = hostCgroups(),
  base?: string,
): ContainerCgroup {
  const path = cgroupsPathOf(core.paths, record.id, record.options.limits.cgroupParent);
  return { host, directories: cgroupDirectories(host, path, base) };
}

/** The pids of a container as the host numbers them, also those in cgroups that it made below its own. */
export function processesOf({ directories }: ContainerCgroup): number[] {
  // Any hierarchy has them all.
  const top = directories.pids ?? directories.unified ?? Object.values(directories)[0];
  const found: number[] = [];
  const pending = top === undefined ? [] : [top];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const directory = next;
    const text = unlessGone(() => readFileSync(`${directory}/cgroup.procs`, 'utf8')) ?? '';
    found.push(...text.split('\n').filter(Boolean).map(Number));
    const entries = unlessGone(() => readdirSync(directory, { withFileTypes: true })) ?? [];
    for (const entry of entries) if (entry.isDirectory()) pending.push(`${directory}/${entry.name}`);
  }
  return found;
}

function unlessGone<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    // ENODEV: removed while it was open. EOPNOTSUPP: a threaded cgroup, whose processes its parent lists.
    if (['ENOENT', 'ENODEV', 'EOPNOTSUPP'].includes(errorCode(error) ?? '')) return undefined;
    throw error;
  }
}
