import { readdirSync, renameSync } from 'node:fs';
import { makePrivateDirectory } from '../disk/atomic.ts';
import type { Paths } from '../disk/paths.ts';
import { errorCode, TinyrunError } from '../errors.ts';
import type { Op } from '../native/plan.ts';
import { type Container, type ContainerRecord, isUp, resolveId } from './containers.ts';
import type { Core } from './core.ts';
import { containerEvent } from './events.ts';
import { namesOf, releaseName } from './names.ts';
import { findContainer } from './query.ts';

export interface RemoveHow {
  /** Kill it first where it runs. */
  readonly force?: boolean;
  /** And the volumes that are its alone; always with `--rm`. */
  readonly volumes?: boolean;
}

/**
 * Removes a container: from now on nobody finds it. Its files go when `finish` is called, after the reply.
 * @throws TinyrunError `not_found`; `conflict` where it runs and `force` is not given, in Docker's words
 */
export async function removeContainer(
  core: Core,
  text: string,
  how: RemoveHow = {},
): Promise<{ id: string; finish: () => Promise<void> }> {
  const id = resolveId(core.paths, text);
  const { recoverContainer, settle } = await import('./recover.ts');
  // A start that is under way would go on in a container that is gone.
  if (!isUp((await findOrDamaged(core, id, how))?.status ?? 'created')) await settle(core, id);
  const container = await findOrDamaged(core, id, how);
  if (container !== undefined && isUp(container.status)) {
    if (how.force !== true) {
      throw new TinyrunError(
        'conflict',
        `cannot remove container "/${container.name}": container is ${container.status}: stop the container before removing or force remove`,
      );
    }
    const { killAndWait } = await import('./stop.ts');
    await killAndWait(core, container);
  }
  const { killUnread, waitForMonitor } = await import('./stop.ts');
  if (container === undefined) await killUnread(core, id);
  await waitForMonitor(core, id);
  if (container !== undefined) await recoverContainer(core, id);
  // Also of a start that was killed before the one that ended well.
  (await core.networks()).forget(id);
  for (const name of container === undefined ? namesOf(core.paths, id) : [container.name]) {
    releaseName(core.paths, name, id);
  }
  discard(core.paths, id);
  if (container !== undefined) await containerEvent(core, container.record, 'destroy');
  return {
    id,
    async finish() {
      await removeVolumes(core, container, how);
      await emptyTrash(core, id);
      if (container === undefined) return;
      const { collectAfter } = await import('./images.ts');
      await collectAfter(core, container.record.image.id);
    },
  };
}

async function removeVolumes(
  core: Core,
  container: Container | undefined,
  { volumes }: RemoveHow,
): Promise<void> {
  if (container?.record.mounts === undefined) return;
  if (volumes !== true && !container.record.options.remove) return;
  const { ownVolumes } = await import('./container-volumes.ts');
  const { removeOwnVolumes } = await import('./volumes.ts');
  await removeOwnVolumes(core, ownVolumes(container.record));
}

/** With force, a container whose files are damaged is undefined: that is how one gets rid of it. */
async function findOrDamaged(core: Core, text: string, how: RemoveHow): Promise<Container | undefined> {
  try {
    return await findContainer(core, text);
  } catch (error) {
    if (how.force === true && error instanceof TinyrunError && error.kind === 'internal') return undefined;
    throw error;
  }
}

/** Moves a container's directory out of sight, after its name: nobody finds it any more. */
export function discard(paths: Paths, id: string): void {
  makePrivateDirectory(paths.trash);
  try {
    renameSync(paths.container(id), trashOf(paths, id));
  } catch (error) {
    // With --rm the monitor may have been faster.
    if (errorCode(error) !== 'ENOENT') throw error;
  }
}

/** The same as ops of a launch plan, for --rm: it happens also when no command is left to do it. */
export async function discardOps(
  paths: Paths,
  record: ContainerRecord,
): Promise<{ release: Op[]; cleanup: Op[] }> {
  const { id, name } = record;
  makePrivateDirectory(paths.trash);
  const volumes =
    record.mounts === undefined
      ? { release: [], cleanup: [] }
      : (await import('./container-volumes.ts')).discardVolumeOps(paths, record);
  return {
    release: [
      ...volumes.release,
      { op: 'unlink', path: paths.name(name), what: `give the name "${name}" back`, optional: true },
      {
        op: 'rename',
        from: paths.container(id),
        to: trashOf(paths, id),
        what: 'remove the container',
        optional: true,
      },
    ],
    cleanup: [
      ...volumes.cleanup,
      {
        op: 'removeTree',
        path: trashOf(paths, id),
        what: 'remove the files of the container',
        optional: true,
      },
    ],
  };
}

/** Deletes what was discarded: one container's files, or all. What somebody else deletes meanwhile is fine. */
export async function emptyTrash(core: Core, id?: string): Promise<void> {
  const { removeTree } = await import('../native/syscalls.ts');
  for (const name of id === undefined ? trashed(core.paths) : [id]) {
    try {
      removeTree(trashOf(core.paths, name));
    } catch (error) {
      if (errorCode(error) !== 'ENOENT') throw error;
    }
  }
}

function trashed(paths: Paths): string[] {
  try {
    return readdirSync(paths.trash);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return [];
    throw error;
  }
}

function trashOf(paths: Paths, id: string): string {
  return `${paths.trash}/${id}`;
}
