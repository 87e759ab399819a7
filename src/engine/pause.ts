import { existsSync, writeFileSync } from 'node:fs';
import type { CgroupHost } from '../cgroups/host.ts';
import { errorCode, TinyrunError } from '../errors.ts';
import { type ContainerCgroup, cgroupOf } from './container-cgroup.ts';
import type { Container } from './containers.ts';
import type { Core } from './core.ts';
import { containerEvent } from './events.ts';
import { findContainer } from './query.ts';
import { until } from './stop.ts';

/** How long the kernel may take to stop every process; one in an uninterruptible sleep keeps it waiting. */
const FREEZE_PATIENCE_MS = 5000;

/** The file that freezes, what is written to it, and how it tells that all stand still. */
interface Freezer {
  readonly file: string;
  readonly on: string;
  readonly off: string;
  readonly wanted: string;
  frozen(host: CgroupHost): boolean;
}

/**
 * The freezer of cgroup v2 also on a hybrid host: unlike v1's it lets SIGKILL through.
 * @see https://docs.kernel.org/admin-guide/cgroup-v2.html (cgroup.freeze), cgroup-v1/freezer-subsystem.html
 */
export function freezerOf({ directories }: ContainerCgroup, exists = existsSync): Freezer | undefined {
  const { unified, freezer } = directories;
  if (unified !== undefined && exists(`${unified}/cgroup.freeze`)) {
    const frozen = (host: CgroupHost): boolean =>
      /^frozen 1$/m.test(host.read(`${unified}/cgroup.events`) ?? '');
    return { file: `${unified}/cgroup.freeze`, on: '1', off: '0', wanted: '1', frozen };
  }
  if (freezer === undefined || !exists(`${freezer}/freezer.state`)) return undefined;
  const file = `${freezer}/freezer.state`;
  return {
    file,
    on: 'FROZEN',
    off: 'THAWED',
    wanted: 'FROZEN',
    frozen: (host) => host.read(file) === 'FROZEN',
  };
}

/** Whether a container that runs stands still. The kernel is asked: nothing else can be wrong. */
export function isPaused(core: Core, container: Container, host?: CgroupHost, base?: string): boolean {
  if (container.status !== 'running') return false;
  const cgroup = cgroupOf(core, container.record, host, base);
  const freezer = freezerOf(cgroup);
  // v1 says FREEZING as long as it is not done.
  const state = freezer === undefined ? undefined : cgroup.host.read(freezer.file);
  return state !== undefined && (state === freezer?.wanted || state === 'FREEZING');
}

/** The container with `paused` instead of `running` where it is. */
export function withPaused<T extends Container>(
  core: Core,
  container: T,
  host?: CgroupHost,
  base?: string,
): T {
  return isPaused(core, container, host, base) ? { ...container, status: 'paused' } : container;
}

/** @throws TinyrunError `conflict` where it does not run or is paused already, in Docker's words; `unsupported` without a freezer */
export async function pauseContainer(core: Core, text: string): Promise<void> {
  const container = await findContainer(core, text);
  const { id } = container;
  if (container.status !== 'running') throw new TinyrunError('conflict', `container ${id} is not running`);
  const cgroup = cgroupOf(core, container.record);
  const freezer = freezerOf(cgroup);
  if (freezer === undefined) {
    throw new TinyrunError('unsupported', `Cannot pause container "${container.name}": it has no freezer`, {
      hint: 'Pausing needs cgroup v2 (Linux 5.2) or the freezer controller of v1',
    });
  }
  if (isPaused(core, container)) throw new TinyrunError('conflict', `container ${id} is already paused`);
  writeFileSync(freezer.file, freezer.on);
  if (await until(() => freezer.frozen(cgroup.host), FREEZE_PATIENCE_MS)) {
    return containerEvent(core, container.record, 'pause');
  }
  writeFileSync(freezer.file, freezer.off);
  throw new TinyrunError(
    'unavailable',
    `Cannot pause container "${container.name}": it still moves after ${FREEZE_PATIENCE_MS / 1000} s`,
    { hint: 'A process in uninterruptible sleep (state D in ps) waits for its device' },
  );
}

/** @throws TinyrunError `conflict` where it is not paused, in Docker's words */
export async function unpauseContainer(core: Core, text: string): Promise<void> {
  const container = await findContainer(core, text);
  if (!isPaused(core, container)) {
    throw new TinyrunError('conflict', `Container ${container.id} is not paused`);
  }
  thaw(core, container);
  await containerEvent(core, container.record, 'unpause');
}

/** Lets a container go on, so that it can take a signal. Fine where it is not paused. */
export function thaw(core: Core, container: Container): void {
  const freezer = freezerOf(cgroupOf(core, container.record));
  if (freezer === undefined) return;
  try {
    writeFileSync(freezer.file, freezer.off);
  } catch (error) {
    // It has ended meanwhile.
    if (!['ENOENT', 'ENODEV'].includes(errorCode(error) ?? '')) throw error;
  }
}
