import { closeSync, existsSync, readdirSync, rmSync, statSync } from 'node:fs';
import { writeJson } from '../disk/atomic.ts';
import { errorCode, TinyrunError } from '../errors.ts';
import { timestamp } from './clock.ts';
import {
  containerIds,
  endedState,
  isUp,
  KILLED,
  readContainer,
  readRecord,
  readState,
  statusOf,
} from './containers.ts';
import type { Core } from './core.ts';
import { containerEvent } from './events.ts';
import { idOfName, namedIds, namesOf, releaseName } from './names.ts';

/** Who asks whether a lock is held has it for a moment. */
const LOCK_PATIENCE_MS = 100;

/** A container directory without a record that is older than this is not being made any more. */
const ABANDONED_MS = 10 * 60_000;

/**
 * Clears away what killed monitors and commands left: their cgroups, ports, leases, run directories, half-made
 * containers, trash. Cheap where nothing is to be done; every step may be done twice.
 */
export async function recoverAll(core: Core, how: { readonly quick?: boolean } = {}): Promise<void> {
  for (const id of runDirectories(core)) await tryRecover(core, id);
  await forgetExecs(core);
  await endPauses(core);
  if (how.quick === true) return;
  const named = namedIds(core.paths);
  for (const id of containerIds(core.paths)) {
    // One that has its name and its record is whole.
    if (!named.has(id) || !existsSync(core.paths.containerRecord(id))) await finishRemoval(core, id);
  }
  const { emptyTrash } = await import('./remove.ts');
  await emptyTrash(core);
}

/** What the killed monitors of `exec` left: their processes died with them. */
async function forgetExecs(core: Core): Promise<void> {
  const { paths } = core;
  const ids = list(paths.execs);
  if (ids.length === 0) return;
  const lockIsHeld = await core.lockIsHeld();
  for (const id of ids) {
    if (isFresh(paths.exec(id), 10_000) || lockIsHeld(paths.execLock(id))) continue;
    rmSync(paths.exec(id), { recursive: true, force: true });
  }
}

/** A command that was killed while a container stood still for it: nobody else would let that go on. */
async function endPauses(core: Core): Promise<void> {
  const { paths } = core;
  const ids = list(paths.pauses);
  if (ids.length === 0) return;
  const lockIsHeld = await core.lockIsHeld();
  const { thaw } = await import('./pause.ts');
  for (const id of ids) {
    if (lockIsHeld(paths.pause(id))) continue;
    const container = readContainer(paths, id, lockIsHeld);
    if (container !== undefined && isUp(container.status)) thaw(core, container);
    rmSync(paths.pause(id), { force: true });
  }
}

/** What cannot be recovered now stays for later: it is no reason to fail a command that is about something else. */
export async function tryRecover(core: Core, id: string): Promise<void> {
  try {
    await recoverContainer(core, id);
  } catch (error) {
    if (!(error instanceof TinyrunError) && errorCode(error) === undefined) throw error;
  }
}

/**
 * Does for a container what its monitor, or the command that started it, did not come to do: they hold the lock from before the
 * first address is taken until nothing is left, so a run directory with a free lock means that they are dead. Holds the lock
 * meanwhile: a start waits for it, and loses nothing of its own.
 */
export async function recoverContainer(core: Core, id: string): Promise<void> {
  const { paths } = core;
  if (!existsSync(paths.run(id))) {
    await recordDeath(core, id);
    return;
  }
  const lockIsHeld = await core.lockIsHeld();
  if (lockIsHeld(paths.lock(id))) return;
  const { takeLockWithin } = await import('../native/run-lock.ts');
  let lock = await takeLockWithin(paths.lock(id), LOCK_PATIENCE_MS);
  if (lock === undefined) return;
  try {
    // First: as long as the lock is held, it would be said to run.
    await recordDeath(core, id);
    // A change of its ports was cut short: what leads to it may not be what its plan took back.
    const isChanging = existsSync(paths.portsChanging(id));
    if (existsSync(paths.teardown(id))) {
      const { recover } = await import('../native/launch.ts');
      await recover(paths.teardown(id));
      // With the file of our lock: somebody may have started the container since.
      closeSync(lock);
      lock = undefined;
      if (!existsSync(paths.run(id))) return;
      lock = await takeLockWithin(paths.lock(id), LOCK_PATIENCE_MS);
      if (lock !== undefined && existsSync(paths.teardown(id))) return;
    }
    const networks = await core.networks();
    if (lock !== undefined) networks.forget(id);
    if (isChanging) await networks.repair();
    if (lock !== undefined) rmSync(paths.run(id), { recursive: true, force: true });
  } finally {
    if (lock !== undefined) closeSync(lock);
  }
}

/**
 * Waits until a container is neither starting nor ending: its monitor has made it run, or nobody does anything for it any more.
 * What a killed command has left of a start is cleared away.
 */
export async function settle(core: Core, id: string): Promise<void> {
  const { paths } = core;
  const lockIsHeld = await core.lockIsHeld();
  const { CLEANUP_PATIENCE_MS, until } = await import('./stop.ts');
  await until(
    () => !lockIsHeld(paths.lock(id)) || isUp(statusOf(readState(paths, id), true)),
    CLEANUP_PATIENCE_MS,
  );
  await recoverContainer(core, id);
}

/** Writes down that a container was killed together with its monitor. */
async function recordDeath(core: Core, id: string): Promise<void> {
  const state = readableState(core, id);
  if (state?.restarting === true) {
    // Its monitor has died while it waited: nobody starts it again.
    const { restarting: _, ...ended } = state;
    writeJson(core.paths.state(id), ended);
    return;
  }
  if (state === undefined || state.finishedAt !== undefined || state.pid === 0) return;
  writeJson(core.paths.state(id), { ...endedState(state), finishedAt: timestamp() });
  const record = readRecord(core.paths, id);
  if (record !== undefined) await containerEvent(core, record, 'die', { exitCode: String(KILLED) });
}

/** A damaged one is told to whoever asks for that container: it is no reason to leave its addresses and ports taken. */
function readableState({ paths }: Core, id: string): ReturnType<typeof readState> {
  try {
    return readState(paths, id);
  } catch (error) {
    if (error instanceof TinyrunError && error.kind === 'internal') return undefined;
    throw error;
  }
}

/** A removal that was cut short between the name and the directory, or a creation that was. */
async function finishRemoval(core: Core, id: string): Promise<void> {
  const { paths } = core;
  try {
    const record = readRecord(paths, id);
    if (record === undefined) {
      if (!isFresh(paths.container(id), ABANDONED_MS)) return discardUnnamed(core, id);
      // Whoever makes a container holds a lease until its record is written.
      const { whileUnleased } = await import('../image/lease.ts');
      whileUnleased(paths, () => {
        if (readRecord(paths, id) === undefined) discardUnnamed(core, id);
      });
    } else if (idOfName(paths, record.name) !== id && !isFresh(paths.container(id), 1000)) {
      discardUnnamed(core, id);
    }
  } catch {
    // A damaged record is shown to whoever asks for that container; recovery must not fail every other command.
  }
}

function discardUnnamed(core: Core, id: string): void {
  const { paths } = core;
  for (const name of namesOf(paths, id)) releaseName(paths, name, id);
  rmSync(paths.container(id), { recursive: true, force: true });
}

function runDirectories(core: Core): string[] {
  return list(`${core.paths.runRoot}/containers`).filter((name) => /^[0-9a-f]{64}$/.test(name));
}

function list(path: string): string[] {
  try {
    return readdirSync(path);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return [];
    throw error;
  }
}

function isFresh(path: string, withinMs: number): boolean {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat !== undefined && Date.now() - stat.mtimeMs < withinMs;
}
