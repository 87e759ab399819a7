import { TinyrunError } from '../errors.ts';
import type { Session } from '../native/launch.ts';
import type { Container } from './containers.ts';
import type { Core } from './core.ts';
import { containerEvent } from './events.ts';
import { lookUp } from './list.ts';

/**
 * A session with a running container's stdio.
 * @throws TinyrunError `not_found`; `conflict` where it does not run, in Docker's words
 */
export async function attachContainer(
  core: Core,
  text: string,
): Promise<{ container: Container; session: Session }> {
  const container = await lookUp(core, text);
  if (container.status === 'paused') {
    throw new TinyrunError('conflict', 'You cannot attach to a paused container, unpause it first');
  }
  if (container.status === 'restarting') {
    throw new TinyrunError(
      'conflict',
      'You cannot attach to a restarting container, wait until it is running',
    );
  }
  if (container.status !== 'running') {
    throw new TinyrunError('conflict', 'You cannot attach to a stopped container, start it first');
  }
  await containerEvent(core, container.record, 'attach');
  const { attach } = await import('../native/launch.ts');
  return { container, session: await attach(core.paths.attachSocket(container.id)) };
}
