import { closeSync, existsSync, mkdirSync, rmSync } from 'node:fs';
import { makePrivateDirectory, writeJson } from '../disk/atomic.ts';
import { describe, errorCode, TinyrunError } from '../errors.ts';
import type { StoredImage } from '../image/stored-image.ts';
import type { Session } from '../native/launch.ts';
import { LaunchError, launch } from '../native/launch.ts';
import type { LaunchPlan, Op } from '../native/plan.ts';
import { LockedError, takeLock } from '../native/run-lock.ts';
import type { NetworkPlan } from '../network/networks.ts';
import { StartError } from '../runtime/start-error.ts';
import { NEVER } from './clock.ts';
import { type Container, type ContainerRecord, isUp } from './containers.ts';
import type { Core } from './core.ts';
import { containerEvent } from './events.ts';
import { releaseName } from './names.ts';
import { writeSettings } from './network-facts.ts';
import { planNetwork } from './network-plan.ts';
import { findContainer } from './query.ts';
import { Rollback } from './rollback.ts';
import type { NextStep } from './start-failure.ts';
import { type Launchable, planLaunch } from './start-plan.ts';

export interface StartHow {
  /** `attach`: the session carries the container's output from its first byte. */
  readonly stdio: 'attach' | 'detached';
  /** Of the terminal, to begin with. */
  readonly size?: { readonly rows: number; readonly columns: number };
  readonly onWarning?: (line: string) => void;
  /** The command waits for nothing but this container: see Session.follow. */
  readonly followed?: boolean;
  /** What can be done while the container is being made; it must not throw. */
  readonly meanwhile?: () => Promise<void>;
  /** The image, where the caller has just looked it up. */
  readonly image?: StoredImage;
  /** It is a RUN of a build, and nobody's container. */
  readonly step?: BuildStepLaunch;
}

/** What the launch of a RUN has of its own. */
export interface BuildStepLaunch {
  /** The layers below its own, top first. */
  readonly lower: readonly string[];
  /** Mounts in its root, after all others. */
  readonly mounts: readonly Op[];
}

export interface Started {
  readonly record: ContainerRecord;
  readonly session: Session;
}

/** A start may meet a firewall or a port that vanished or was taken since it was planned: so often it is planned anew. */
const ATTEMPTS = 3;

/** What Docker records for a start that failed for no fault of the program. */
const START_FAILED = 128;

/**
 * Starts a container that is created or has exited; resolves when its program has been executed. Whatever goes wrong,
 * nothing of the start is left but state.json with the reason.
 * @throws StartError (126, 127) where the program cannot be executed; TinyrunError `conflict` where it runs already
 */
export async function startContainer(core: Core, text: string, how: StartHow): Promise<Started> {
  const { id } = await findStartable(core, text);
  // It may have ended a moment ago: its monitor is still clearing away, or was killed and somebody else has to.
  const { settle } = await import('./recover.ts');
  await settle(core, id);
  // Again: another start may have been faster; and with --rm what was cleared away is the container.
  const { record } = await findStartable(core, id);
  const { allowRestart } = await import('./restart-policy.ts');
  allowRestart(core.paths, id);
  return startRecord(core, record, how);
}

/** @throws TinyrunError `conflict` where it runs */
async function findStartable(core: Core, text: string): Promise<Container> {
  const container = await findContainer(core, text);
  const { name, status } = container;
  if (!isUp(status)) return container;
  if (status !== 'restarting' && (await import('./pause.ts')).isPaused(core, container)) {
    throw new TinyrunError('conflict', 'cannot start a paused container, try unpause instead');
  }
  throw new TinyrunError('conflict', `Cannot start container "${name}": it is ${status} already`);
}

/** A RUN of a build: the same start, of which nobody keeps a record. */
export async function startBuildStep(core: Core, record: ContainerRecord, how: StartHow): Promise<Started> {
  for (let attempt = 1; ; attempt += 1) {
    const lock = await lockRun(core, record.id);
    const next = await tryStart(core, record, how, { lock, mayRetry: attempt < ATTEMPTS });
    if (typeof next === 'object') return next;
    if (next === 'repair') await (await core.networks()).repair();
  }
}

/** As {@link startContainer}, for a record that was just made. */
export async function startRecord(core: Core, record: ContainerRecord, how: StartHow): Promise<Started> {
  try {
    for (let attempt = 1; ; attempt += 1) {
      const lock = await lockRun(core, record.id);
      const next = await tryStart(core, record, how, { lock, mayRetry: attempt < ATTEMPTS });
      if (typeof next === 'object') return next;
      await prepareRetry(core, record, next);
    }
  } catch (error) {
    // What becomes of it is told by whoever starts it at the same time.
    if (!(error instanceof LockedError)) await recordFailure(core, record, error);
    throw error;
  }
}

/**
 * Makes the run directory and locks it. From here on until the directory is gone everybody sees that somebody is at work here,
 * or was and is dead: so this comes before the first address is taken.
 * @throws LockedError where another start or its monitor has it
 */
async function lockRun(core: Core, id: string): Promise<number> {
  const { paths } = core;
  for (;;) {
    const isNew = makeRunDirectory(core, id);
    const lock = await takeLock(paths.lock(id));
    if (isNew) return lock;
    const isClear = !existsSync(paths.teardown(id));
    try {
      // Of a start that was killed before it had a monitor: that would give back only what the next start takes.
      if (isClear) (await core.networks()).forget(id);
    } catch (error) {
      closeSync(lock);
      throw error;
    }
    if (isClear) return lock;
    // Whoever was at clearing this away was killed, too.
    closeSync(lock);
    const { recoverContainer } = await import('./recover.ts');
    await recoverContainer(core, id);
  }
}

async function tryStart(
  core: Core,
  record: ContainerRecord,
  how: StartHow,
  { lock, mayRetry }: { readonly lock: number; readonly mayRetry: boolean },
): Promise<Started | NextStep> {
  await using undo = new Rollback();
  const { paths } = core;
  const { id } = record;
  undo.defer(() => closeSync(lock));
  undo.defer(() => rmSync(paths.run(id), { recursive: true, force: true }));
  const network = await planNetwork(core, record);
  undo.defer(() => network.undo());
  for (const warning of network.warnings) how.onWarning?.(warning);
  // Before the launch: the monitor takes it away in the end, and what came later would stay.
  writeSettings(paths, id, network.settings);
  core.phase('network');
  const launchable = await planLaunch(core, record, { network, how });
  if (core.showPlan !== undefined) {
    const shown = how.step === undefined ? launchable.plan : withoutEnvironment(launchable.plan);
    core.showPlan((await import('../native/explain.ts')).explainPlan(shown));
  }
  core.phase('plan');
  if (how.stdio === 'attach' && how.step === undefined) await containerEvent(core, record, 'attach');
  try {
    let describing: Promise<void> | undefined;
    const session = await launch({
      plan: launchable.plan,
      lockPath: paths.lock(id),
      lock,
      teardownPath: paths.teardown(id),
      stdio: how.stdio,
      ...(how.size === undefined ? {} : { initialSize: how.size }),
      ...(how.followed === undefined ? {} : { followed: how.followed }),
      meanwhile: async () => {
        describing = describeStart(core, id, launchable);
        await Promise.allSettled([describing, how.meanwhile?.()]);
      },
    });
    await describing;
    undo.commit();
    core.phase('launch');
    return { record, session };
  } catch (error) {
    // The monitor has run `release` and `cleanup`: what it took down is not to be taken down twice.
    undo.commit();
    return afterFailure(core, { error, record, launchable, network, mayRetry });
  }
}

/** The variables of a RUN may be secrets. */
function withoutEnvironment(plan: LaunchPlan): LaunchPlan {
  return { ...plan, child: plan.child.map((op) => (op.op === 'exec' ? { ...op, env: [] } : op)) };
}

/**
 * config.json, which only people look at (`inspect`), is written while the monitor is at work: the launch does not wait for
 * it. A power cut may lose it; every start writes it anew.
 */
async function describeStart(core: Core, id: string, launchable: Launchable): Promise<void> {
  try {
    writeJson(core.paths.config(id), launchable.spec, { durable: false });
  } catch (error) {
    // With --rm a container that has ended already is gone.
    if (errorCode(error) !== 'ENOENT') throw error;
  }
}

interface Failure {
  readonly error: unknown;
  readonly record: ContainerRecord;
  readonly launchable: Launchable;
  readonly network: NetworkPlan;
  readonly mayRetry: boolean;
}

async function afterFailure(core: Core, failure: Failure): Promise<NextStep> {
  const { error } = failure;
  const { waitForMonitor } = await import('./stop.ts');
  await waitForMonitor(core, failure.record.id);
  // What is left where the monitor was killed, or never came to be; under the lock, as somebody may start it anew.
  const { tryRecover } = await import('./recover.ts');
  await tryRecover(core, failure.record.id);
  if (!(error instanceof LaunchError)) throw error;
  const { explainFailure } = await import('./start-failure.ts');
  const next = await explainFailure(core, { ...failure, error });
  if (failure.mayRetry && typeof next === 'string') return next;
  throw typeof next === 'string' ? error : next;
}

async function prepareRetry(core: Core, record: ContainerRecord, step: NextStep): Promise<void> {
  if (step === 'repair') await (await core.networks()).repair();
  if (!record.options.remove) return;
  // The failed launch has removed the container, as --rm asks for.
  const { restoreContainer } = await import('./create.ts');
  restoreContainer(core.paths, record);
}

/** @returns whether there was none; one that is there was left by somebody who was killed, or is still being cleared away */
function makeRunDirectory({ paths }: Core, id: string): boolean {
  try {
    mkdirSync(paths.run(id), { mode: 0o700 });
    return true;
  } catch (error) {
    if (errorCode(error) === 'EEXIST') return false;
    if (errorCode(error) !== 'ENOENT') throw error;
    makePrivateDirectory(paths.run(id));
    return true;
  }
}

/** state.json says why a start failed, until the next one; with --rm the container goes instead. */
async function recordFailure(core: Core, record: ContainerRecord, error: unknown): Promise<void> {
  const { paths } = core;
  if (record.options.remove) {
    const { discard, emptyTrash } = await import('./remove.ts');
    releaseName(paths, record.name, record.id);
    discard(paths, record.id);
    await emptyTrash(core, record.id);
    await containerEvent(core, record, 'destroy');
    return;
  }
  writeJson(
    paths.state(record.id),
    {
      pid: 0,
      startTime: 0,
      monitorPid: 0,
      monitorStartTime: 0,
      startedAt: NEVER,
      finishedAt: NEVER,
      exitCode: error instanceof StartError ? error.exitCode : START_FAILED,
      error: describe(error),
    },
    { durable: false },
  );
}
