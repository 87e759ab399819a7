import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { writeFileAtomic } from '../disk/atomic.ts';
import type { Paths } from '../disk/paths.ts';
import { errorCode } from '../errors.ts';
import { RESTART_POLICIES, type RestartOptions } from '../native/plan.ts';
import type { Container, ContainerRecord } from './containers.ts';
import type { Core } from './core.ts';
import type { CreateOptions } from './options.ts';
import { listContainers } from './query.ts';

/** What makes a waiting monitor look at its policy: see native/restart.c. */
const SIGUSR1 = 10;

export type RestartRequest = NonNullable<CreateOptions['restart']>;

/** For the launch plan. The path is there for every container: `update` may give it a policy while it runs. */
export function restartOptions(paths: Paths, { id, options }: ContainerRecord): RestartOptions {
  const { policy, max } = options.restart ?? { policy: 'no', max: 0 };
  return { policy, max, policyPath: paths.policy(id) };
}

/** Whether its monitor may start it again. */
export function mayRestart({ options }: ContainerRecord): boolean {
  return (options.restart ?? { policy: 'no' }).policy !== 'no' || options.healthOnFailure === 'restart';
}

/**
 * Notes that the user wants a container to end, before it is told to: its monitor does not start it again, nor does
 * `start --all-restartable` unless its policy is `always`.
 */
export async function forbidRestart(core: Core, container: Container): Promise<void> {
  const { id, record } = container;
  if (!mayRestart(record)) return;
  try {
    writeFileSync(core.paths.stopMark(id), '', { mode: 0o600 });
    writePolicy(core.paths, id, 'never', 0);
  } catch (error) {
    // It is gone, or does not run any more.
    if (errorCode(error) !== 'ENOENT') throw error;
  }
  await wakeMonitor(container);
}

async function wakeMonitor({ status, state }: Container): Promise<void> {
  if (status !== 'restarting' || state === undefined) return;
  const { sendSignal } = await import('../native/syscalls.ts');
  sendSignal({ pid: state.monitorPid, startTime: state.monitorStartTime }, SIGUSR1);
}

/** The user wants it to run. */
export function allowRestart(paths: Paths, id: string): void {
  rmSync(paths.stopMark(id), { force: true });
  rmSync(paths.policy(id), { force: true });
}

/** Tells the monitor of a container that runs. What the user has stopped stays stopped. */
export async function changePolicy(
  { paths }: Core,
  container: Container,
  { policy, max }: RestartRequest,
): Promise<void> {
  if (existsSync(paths.stopMark(container.id))) return;
  writePolicy(paths, container.id, policy, max);
  await wakeMonitor(container);
}

function writePolicy(paths: Paths, id: string, policy: RestartOptions['policy'], max: number): void {
  const text = `${RESTART_POLICIES.indexOf(policy)} ${max}\n`;
  writeFileAtomic(paths.policy(id), text, { durable: false });
}

/**
 * Whether `start --all-restartable` starts a container: as Docker's daemon does when the machine has come up, but what was
 * stopped by the user and has `on-failure` stays stopped.
 */
export function isRestartable(paths: Paths, { id, record, state, status }: Container): boolean {
  const restart = record.options.restart ?? { policy: 'no' };
  if (status !== 'exited' || state === undefined) return false;
  if (restart.policy === 'always') return true;
  if (restart.policy === 'no' || existsSync(paths.stopMark(id))) return false;
  return restart.policy === 'unless-stopped' || (state.exitCode ?? 0) !== 0;
}

/** Their names, oldest first: what came later may need what was there before. */
export async function restartable(core: Core): Promise<string[]> {
  const { recoverAll } = await import('./recover.ts');
  await recoverAll(core, { quick: true });
  const containers = await listContainers(core);
  return containers
    .filter((container) => isRestartable(core.paths, container))
    .map(({ name }) => name)
    .reverse();
}
