import { readdirSync, rmdirSync } from 'node:fs';
import { errorCode } from '../errors.ts';
import { cgroupParentOf } from './cgroup-path.ts';
import { isUp } from './containers.ts';
import type { Core } from './core.ts';
import { listContainers } from './query.ts';
import { recoverAll } from './recover.ts';
import { killAndWait, waitForMonitor } from './stop.ts';

/** Removes everything of this store: containers, networks, images, cgroups. What lies elsewhere in the machine stays. */
export async function resetStore(core: Core): Promise<void> {
  for (const container of await listContainers(core)) {
    if (isUp(container.status)) await killAndWait(core, container);
    await waitForMonitor(core, container.id);
  }
  await recoverAll(core);
  await (await core.networks()).destroy();
  await removeCgroups(core);
  const { removeTree } = await import('../native/syscalls.ts');
  for (const directory of [core.paths.runRoot, core.paths.root]) emptyDirectory(directory, removeTree);
}

/** The parents of the containers' cgroups: empty now, unless somebody else put something there. */
async function removeCgroups(core: Core): Promise<void> {
  const [{ hostCgroups }, { directoriesOf }] = await Promise.all([
    import('../cgroups/host.ts'),
    import('../cgroups/plan.ts'),
  ]);
  for (const directory of directoriesOf(hostCgroups(), cgroupParentOf(core.paths))) {
    try {
      rmdirSync(directory);
    } catch (error) {
      if (!['ENOENT', 'EBUSY', 'ENOTEMPTY'].includes(errorCode(error) ?? '')) throw error;
    }
  }
}

/** The directory itself stays: it may be a mount point or have been made by the user. */
function emptyDirectory(directory: string, removeTree: (path: string) => void): void {
  let names: string[];
  try {
    names = readdirSync(directory);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return;
    throw error;
  }
  for (const name of names) removeTree(`${directory}/${name}`);
}
