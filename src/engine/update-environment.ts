import { writeJson } from '../disk/atomic.ts';
import { withLock } from '../disk/lock.ts';
import { TinyrunError } from '../errors.ts';
import type { Core } from './core.ts';
import { containerEvent } from './events.ts';
import { findContainer } from './query.ts';

/**
 * Sets variables for all starts to come.
 * @param env `KEY=value`; a `KEY` alone takes the variable away
 * @throws TinyrunError `unsupported` where the container runs: the environment is in the memory of its processes, which got it
 *   by execve(2) and changes only by their own hand
 */
export function updateEnvironment(core: Core, text: string, env: readonly string[]): Promise<void> {
  return withLock(core.paths.recordsLock, 'exclusive', async () => {
    const { id, record, name, status } = await findContainer(core, text);
    if (status !== 'created' && status !== 'exited') {
      throw new TinyrunError(
        'unsupported',
        `Cannot change the environment of container "${name}": it is ${status}, and no kernel call reaches the environment of a process that has begun`,
        {
          hint: `Stop it, update it and start it; or give the variable to one more process: tinyrun exec -e KEY=value ${name} COMMAND`,
        },
      );
    }
    const changed = { ...record, options: { ...record.options, env: [...record.options.env, ...env] } };
    writeJson(core.paths.containerRecord(id), changed);
    await containerEvent(core, record, 'update');
  });
}
