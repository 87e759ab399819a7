import { TinyrunError } from '../errors.ts';
import { isUp } from './containers.ts';
import type { Core } from './core.ts';
import { containerEvent } from './events.ts';
import { findContainer } from './query.ts';
import { startContainer } from './start.ts';
import { type StopHow, stopContainer } from './stop.ts';

export interface RestartHow extends StopHow {
  readonly onWarning?: (line: string) => void;
}

/** Stops a container where it runs, then starts it, detached. @throws TinyrunError as stop and start do */
export async function restartContainer(core: Core, text: string, how: RestartHow = {}): Promise<void> {
  const container = await findContainer(core, text);
  if (isUp(container.status)) {
    if (container.record.options.remove) {
      throw new TinyrunError(
        'conflict',
        `Cannot restart container "${container.name}": --rm removes it when it stops`,
        { hint: 'Stop it and run it anew' },
      );
    }
    await stopContainer(core, container.id, how);
  }
  const { onWarning } = how;
  const { session } = await startContainer(core, container.id, {
    stdio: 'detached',
    ...(onWarning === undefined ? {} : { onWarning }),
  });
  session.close();
  await containerEvent(core, container.record, 'restart');
}
