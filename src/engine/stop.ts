import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { TinyrunError } from '../errors.ts';
import {
  type Container,
  type ContainerRecord,
  isUp,
  readContainer,
  readState,
  type StateRecord,
} from './containers.ts';
import type { Core } from './core.ts';
import { containerEvent } from './events.ts';
import { findContainer } from './query.ts';
import { forbidRestart, mayRestart } from './restart-policy.ts';
import { signalNumber } from './signals.ts';

const DEFAULT_TIMEOUT_S = 10;
/** Not a signal: asks whether there is a process to send one to. */
const EXISTS = 0;
/** How long a SIGKILL may take: the kernel has to tear down every process of the container. */
const KILL_PATIENCE_MS = 10_000;
/** How long a monitor may take to clean up after the exit: cgroups linger, upper directories are large. */
export const CLEANUP_PATIENCE_MS = 15_000;

/** SIGKILL and SIGTERM: sent in order to end it, so a paused container goes on for them, as with Docker. */
const ENDING: ReadonlySet<number> = new Set([9, 15]);

export interface StopHow {
  /** Seconds until SIGKILL; -1 waits for ever. Default: the container's own, else 10. */
  readonly timeout?: number;
  /** Instead of the container's stop signal. */
  readonly signal?: string;
}

/**
 * Stops a container: its stop signal, then SIGKILL after the timeout. One that does not run is stopped already.
 * @throws TinyrunError `not_found`; `unavailable` where even SIGKILL does not end it
 */
export async function stopContainer(core: Core, text: string, how: StopHow = {}): Promise<void> {
  let container = await findContainer(core, text);
  if (!isUp(container.status)) return;
  // Its monitor may have decided to start it again a moment before it was told not to: that life is stopped, too.
  for (; isUp(container.status); container = await findAgain(core, container)) {
    await forbidRestart(core, container);
    if (container.status === 'restarting') await ended(core, container, KILL_PATIENCE_MS);
    else await stopNow(core, container, how);
    if (!mayRestart(container.record)) break;
  }
  await containerEvent(core, container.record, 'stop');
}

async function stopNow(core: Core, container: Container, how: StopHow): Promise<void> {
  const signal = how.signal === undefined ? stopSignalOf(container.record) : signalNumber(how.signal);
  const timeout = how.timeout ?? stopTimeoutOf(container.record);
  await signalled(core, container, signal);
  await letGo(core, container);
  const limit = timeout < 0 ? Number.POSITIVE_INFINITY : timeout * 1000;
  if (!(await ended(core, container, limit))) await killNow(core, container);
}

/** With --rm it may be gone. */
async function findAgain(core: Core, container: Container): Promise<Container> {
  const lockIsHeld = await core.lockIsHeld();
  return readContainer(core.paths, container.id, lockIsHeld) ?? { ...container, status: 'exited' };
}

/**
 * Sends a signal to a container's first process.
 * @throws TinyrunError `not_found`, `invalid` (signal); `conflict` where it does not run, in Docker's words
 */
export async function killContainer(core: Core, text: string, signal = 'SIGKILL'): Promise<void> {
  const number = signalNumber(signal);
  const container = await findContainer(core, text);
  if (isUp(container.status) && isLast(container, number)) await forbidRestart(core, container);
  // With Docker, too, it is stopped where there is nothing to send a signal to.
  if (container.status === 'restarting') {
    await ended(core, container, KILL_PATIENCE_MS);
    return;
  }
  if (container.status !== 'running' || !(await signalled(core, container, number))) {
    throw new TinyrunError(
      'conflict',
      `cannot kill container: ${text}: container ${container.id} is not running`,
    );
  }
  if (ENDING.has(number)) await letGo(core, container);
  // As Docker does: after `kill` its ports and its name can be used again.
  if (number === signalNumber('SIGKILL')) await ended(core, container, KILL_PATIENCE_MS);
}

/** Whether a signal says that the container shall end, and not only that something be done. */
function isLast({ record }: Container, number: number): boolean {
  return number === signalNumber('SIGKILL') || number === stopSignalOf(record);
}

export function stopSignalOf({ options, image }: ContainerRecord): number {
  return signalNumber(options.stopSignal ?? image.config.StopSignal ?? 'SIGTERM');
}

/** Seconds. */
export function stopTimeoutOf({ options }: ContainerRecord): number {
  return options.stopTimeout ?? DEFAULT_TIMEOUT_S;
}

/** SIGKILL, and waits until the container has ended. @throws TinyrunError `unavailable` where it does not */
export async function killAndWait(core: Core, found: Container): Promise<void> {
  let container = found;
  for (; isUp(container.status); container = await findAgain(core, container)) {
    await forbidRestart(core, container);
    if (container.status === 'restarting') await ended(core, container, KILL_PATIENCE_MS);
    else await killNow(core, container);
  }
}

async function killNow(core: Core, container: Container): Promise<void> {
  await signalled(core, container, signalNumber('SIGKILL'));
  await letGo(core, container);
  if (await ended(core, container, KILL_PATIENCE_MS)) return;
  throw new TinyrunError(
    'unavailable',
    `Cannot kill container "${container.name}": it still runs ${KILL_PATIENCE_MS / 1000} s after SIGKILL`,
    { hint: 'A process in uninterruptible sleep (state D in ps) ends only when its device answers' },
  );
}

/** SIGKILL for a container whose record cannot be read, if it runs. */
export async function killUnread(core: Core, id: string): Promise<void> {
  const lockIsHeld = await core.lockIsHeld();
  const state = lockIsHeld(core.paths.lock(id)) ? readState(core.paths, id) : undefined;
  if (state !== undefined) await signal(state, signalNumber('SIGKILL'));
}

/** Waits until the monitor of an ended container has cleaned up and is gone. */
export async function waitForMonitor(core: Core, id: string): Promise<void> {
  const lockIsHeld = await core.lockIsHeld();
  await until(() => !lockIsHeld(core.paths.lock(id)), CLEANUP_PATIENCE_MS);
}

/** True once the container has ended or is gone, false after `limitMs`. */
async function ended(core: Core, container: Container, limitMs: number): Promise<boolean> {
  const { paths } = core;
  const lockIsHeld = await core.lockIsHeld();
  const startTime = container.state?.startTime;
  return until(() => {
    const held = lockIsHeld(paths.lock(container.id));
    if (!held || !existsSync(paths.container(container.id))) return true;
    const state = readState(paths, container.id);
    if (state === undefined || state.startTime !== startTime) return true;
    // One that waits for its next life has ended when the monitor has given that up.
    return state.finishedAt !== undefined && (container.status !== 'restarting' || state.restarting !== true);
  }, limitMs);
}

/** Polls, ever more slowly: 2 ms at first, because most containers end at once, 50 ms in the end. */
export async function until(done: () => boolean, limitMs: number): Promise<boolean> {
  const deadline = performance.now() + limitMs;
  for (let pause = 2; !done(); pause = Math.min(pause * 1.5, 50)) {
    if (performance.now() >= deadline) return false;
    await sleep(pause);
  }
  return true;
}

/** A paused container takes no signal before it goes on. */
async function letGo(core: Core, container: Container): Promise<void> {
  (await import('./pause.ts')).thaw(core, container);
}

/**
 * Sends a signal. The event that says so comes first: that of the end, which the monitor writes, may follow at once.
 * @returns false where the process is gone
 */
async function signalled(core: Core, { record, state }: Container, number: number): Promise<boolean> {
  if (state === undefined || !(await signal(state, EXISTS))) return false;
  await containerEvent(core, record, 'kill', { signal: String(number) });
  return signal(state, number);
}

async function signal({ pid, startTime }: StateRecord, number: number): Promise<boolean> {
  const { sendSignal } = await import('../native/syscalls.ts');
  return sendSignal({ pid, startTime }, number);
}
