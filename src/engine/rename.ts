import { writeJson } from '../disk/atomic.ts';
import { withLock } from '../disk/lock.ts';
import { TinyrunError } from '../errors.ts';
import { isUp } from './containers.ts';
import type { Core } from './core.ts';
import { containerEvent } from './events.ts';
import { checkName, releaseName, reserveName } from './names.ts';
import { findContainer } from './query.ts';
import { Rollback } from './rollback.ts';

/** @throws TinyrunError `invalid` (name), `conflict` (taken), in Docker's words */
export function renameContainer(core: Core, text: string, newName: string): Promise<void> {
  return withLock(core.paths.recordsLock, 'exclusive', () => rename(core, text, newName));
}

async function rename(core: Core, text: string, newName: string): Promise<void> {
  await using undo = new Rollback();
  const { paths } = core;
  const { id, record, status } = await findContainer(core, text);
  const name = checkName(newName);
  if (name === record.name) {
    throw new TinyrunError('invalid', 'Renaming a container with the same name as its current name');
  }
  if (isUp(status) && record.options.remove) {
    // Its monitor gives the name back when it ends, and knows only the one that it was started with.
    throw new TinyrunError('unsupported', `Cannot rename container "${record.name}": it runs with --rm`, {
      hint: 'Give the name with `run --name`',
    });
  }
  // The record's name is the container's own at every moment: recovery removes containers whose name is another's.
  reserveName(paths, name, id);
  undo.defer(() => releaseName(paths, name, id));
  writeJson(paths.containerRecord(id), { ...record, name });
  undo.commit();
  releaseName(paths, record.name, id);
  await containerEvent(core, { ...record, name }, 'rename', { oldName: `/${record.name}` });
}
