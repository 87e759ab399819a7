import { writeFileSync } from 'node:fs';
import { resourcesOf } from '../cgroups/limits.ts';
import { hostMachine } from '../cgroups/machine.ts';
import { type CgroupWrite, writesForV1, writesForV2 } from '../cgroups/writes.ts';
import { writeJson } from '../disk/atomic.ts';
import { withLock } from '../disk/lock.ts';
import { errorCode, SyscallError, TinyrunError } from '../errors.ts';
import { type ContainerCgroup, cgroupOf } from './container-cgroup.ts';
import { isUp } from './containers.ts';
import type { Core } from './core.ts';
import { containerEvent } from './events.ts';
import type { CreateOptions, Limits } from './options.ts';
import { findContainer } from './query.ts';

/** Limits, and the restart policy. */
export type Changes = Limits & Pick<CreateOptions, 'restart'>;

export interface Updated {
  readonly warnings: readonly string[];
}

/**
 * Changes the limits of a container: now where it runs, and for all its starts. Of a number 0 means that it stays, as with
 * Docker, but for the number of processes.
 * @returns warnings
 * @throws TinyrunError `invalid` in Docker's words; `conflict` where it uses more than it should get
 */
export function updateContainer(core: Core, text: string, changes: Changes): Promise<Updated> {
  return withLock(core.paths.recordsLock, 'exclusive', () => update(core, text, changes));
}

async function update(core: Core, text: string, { restart, ...changes }: Changes): Promise<Updated> {
  const found = await findContainer(core, text);
  const { id, record, status, name } = found;
  if (restart !== undefined && restart.policy !== 'no' && record.options.remove) {
    throw new TinyrunError(
      'conflict',
      'Restart policy cannot be updated because AutoRemove is enabled for the container',
    );
  }
  const before = record.options.limits;
  const limits = mergeLimits(before, changes);
  const cgroup = cgroupOf(core, record);
  const machine = hostMachine();
  const { resources, warnings } = resourcesOf(limits, cgroup.host, machine);
  if (isUp(status)) {
    const writesFor = cgroup.host.version === 'v2' ? writesForV2 : writesForV1;
    const old = writesFor(resourcesOf(before, cgroup.host, machine).resources);
    applyWrites(changedWrites(old, writesFor(resources)), cgroup, { name });
  }
  writeJson(core.paths.containerRecord(id), {
    ...record,
    options: { ...record.options, limits, ...(restart === undefined ? {} : { restart }) },
  });
  if (restart !== undefined && isUp(status)) {
    await (await import('./restart-policy.ts')).changePolicy(core, found, restart);
  }
  await containerEvent(core, record, 'update');
  return { warnings };
}

export function mergeLimits(before: Limits, changes: Limits): Limits {
  const given = Object.entries(changes).filter(([key, value]) => value !== 0 || key === 'pidsLimit');
  return { ...before, ...Object.fromEntries(given) };
}

/** Those of `wanted` that say something new. */
export function changedWrites(
  old: readonly CgroupWrite[],
  wanted: readonly CgroupWrite[],
): readonly CgroupWrite[] {
  return wanted.filter(
    ({ file, value }) => !old.some((written) => written.file === file && written.value === value),
  );
}

/**
 * Writes what can be written, then again what could not: memory and memory+swap bound each other in v1, and which has to
 * be first depends on the direction.
 * @throws TinyrunError for the first that cannot be written in either order
 */
export function applyWrites(
  writes: readonly CgroupWrite[],
  { directories, host }: ContainerCgroup,
  container: { readonly name: string },
  write: (path: string, value: string) => void = writeFileSync,
): void {
  let pending = writes;
  for (let round = 0; round < 2 && pending.length > 0; round += 1) {
    const failed: { one: CgroupWrite; error: unknown }[] = [];
    for (const one of pending) {
      const directory = host.version === 'v2' ? directories.unified : directories[one.controller];
      if (directory === undefined) continue;
      try {
        write(`${directory}/${one.file}`, one.value);
      } catch (error) {
        if (one.optional !== true) failed.push({ one, error });
      }
    }
    const [first] = failed;
    const stuck = failed.length === pending.length || round === 1;
    if (first !== undefined && stuck) throw cannotWrite(first.one, first.error, container.name);
    pending = failed.map(({ one }) => one);
  }
}

function cannotWrite(one: CgroupWrite, error: unknown, name: string): TinyrunError {
  const code = errorCode(error) ?? 'EIO';
  const { kind } = new SyscallError('write', one.file, code);
  const busy = code === 'EBUSY' && one.controller === 'memory';
  return new TinyrunError(kind, `Cannot update container "${name}": ${one.file} "${one.value}": ${code}`, {
    cause: error,
    ...(busy ? { hint: 'It uses more memory than that, and none of it can be taken away' } : {}),
  });
}
