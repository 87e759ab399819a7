import { setTimeout as sleep } from 'node:timers/promises';
import { type Container, isUp, KILLED, readState } from './containers.ts';
import type { Core } from './core.ts';
import { findContainer } from './query.ts';

/**
 * Waits until a container has ended. @returns its exit code; at once for one that does not run (0 if it never did)
 * @throws TinyrunError `not_found`
 */
export async function waitContainer(core: Core, text: string): Promise<number> {
  const container = await findContainer(core, text);
  return waitFor(core, container);
}

/** As {@link waitContainer}, of a container that was looked up already. */
export async function waitFor(core: Core, container: Container): Promise<number> {
  if (!isUp(container.status)) return container.state?.exitCode ?? 0;
  // The attach socket tells the exit also of a container that is removed with it (--rm); without one, poll the state.
  const told = await exitThroughSocket(core, container.id);
  if (told !== undefined) return told;
  const lockIsHeld = await core.lockIsHeld();
  for (;;) {
    const held = lockIsHeld(core.paths.lock(container.id));
    const state = readState(core.paths, container.id);
    if (state?.exitCode !== undefined && state.finishedAt !== undefined && state.restarting !== true)
      return state.exitCode;
    if (!held || state === undefined) return KILLED;
    await sleep(50);
  }
}

async function exitThroughSocket(core: Core, id: string): Promise<number | undefined> {
  const { attach } = await import('../native/launch.ts');
  try {
    const session = await attach(core.paths.attachSocket(id), 'detached');
    const { exitCode } = await session.exited;
    session.close();
    return exitCode;
  } catch {
    // No socket any more, or the monitor was killed: the state tells.
    return undefined;
  }
}
