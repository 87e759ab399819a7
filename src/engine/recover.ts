import { existsSync, readdirSync, rmSync, statSync } from 'node:fs';
import { writeJson } from '../disk/atomic.ts';
import { errorCode, TinyrunError } from '../errors.ts';
import { timestamp } from './clock.ts';
import { containerIds, endedState, readRecord, readState } from './containers.ts';
import type { Core } from './core.ts';
import { idOfName, namesOf, releaseName } from './names.ts';

/** A container directory without a record that is older than this is not being made any more. */
const ABANDONED_MS = 10 * 60_000;

/**
 * Clears away what killed monitors and commands left: their cgroups, ports, leases, run directories, half-made
 * containers, trash. Cheap where nothing is to be done; every step may be done twice.
 */
export async function recoverAll(core: Core, how: { readonly quick?: boolean } = {}): Promise<void> {
  for (const id of runDirectories(core)) await tryRecover(core, id);
  if (how.quick === true) return;
  for (const id of containerIds(core.paths)) finishRemoval(core, id);
  const { emptyTrash } = await import('./remove.ts');
  await emptyTrash(core);
}

/** What cannot be recovered now stays for later: it is no reason to fail a command that is about something else. */
async function tryRecover(core: Core, id: string): Promise<void> {
  try {
    await recoverContainer(core, id);
  } catch (error) {
    if (!(error instanceof TinyrunError) && errorCode(error) === undefined) throw error;
  }
}

/**
 * Does for a container what its monitor did not come to do: a monitor holds its lock from before it writes the teardown
 * file until after it has removed it, so a teardown file with a free lock means a dead monitor.
 */
export async function recoverContainer(core: Core, id: string): Promise<void> {
  const { paths } = core;
  if (!existsSync(paths.run(id))) {
    recordDeath(core, id);
    return;
  }
  const lockIsHeld = await core.lockIsHeld();
  if (lockIsHeld(paths.lock(id))) return;
  if (existsSync(paths.teardown(id))) {
    const { recover } = await import('../native/launch.ts');
    await recover(paths.teardown(id));
  } else if (isFresh(paths.run(id), 10_000)) {
    // A start is under way: its monitor has not locked yet.
    return;
  }
  recordDeath(core, id);
  rmSync(paths.run(id), { recursive: true, force: true });
}

/** Writes down that a container was killed together with its monitor. */
function recordDeath(core: Core, id: string): void {
  const state = readState(core.paths, id);
  if (state === undefined || state.finishedAt !== undefined || state.pid === 0) return;
  writeJson(core.paths.state(id), { ...endedState(state), finishedAt: timestamp() });
}

/** A removal that was cut short between the name and the directory, or a creation that was. */
function finishRemoval(core: Core, id: string): void {
  const { paths } = core;
  try {
    const record = readRecord(paths, id);
    const abandoned =
      record === undefined
        ? !isFresh(paths.container(id), ABANDONED_MS)
        : idOfName(paths, record.name) !== id && !isFresh(paths.container(id), 1000);
    if (abandoned) discardUnnamed(core, id);
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
