import { TinyrunError } from '../errors.ts';
import { errnoName } from './errno.ts';
import { FRAME, frameDecoder, frameHeader } from './frames.ts';
import { shortAddress } from './socket-address.ts';

/** What a monitor could not do: symbolic errno, and the line that it was about. */
export interface PortsRefusal {
  readonly errno: string;
  readonly line: number;
}

/**
 * Tells a monitor that the list of ports beside its socket has changed (native/ports.c).
 * @returns undefined once it is as wanted; else nothing has changed
 * @throws TinyrunError `unavailable` where no monitor answers
 */
export async function requestPorts(socketPath: string): Promise<PortsRefusal | undefined> {
  const { connect } = await import('node:net');
  const address = shortAddress(socketPath);
  const socket = connect(address.path);
  try {
    return await new Promise((resolve, reject) => {
      const push = frameDecoder({
        output: () => {},
        started: () => {},
        failed: () => {},
        exited: () => {},
        answered: ({ errno, line }) => resolve(errno === 0 ? undefined : { errno: errnoName(errno), line }),
      });
      const gone = (cause?: unknown): void =>
        reject(new TinyrunError('unavailable', 'Cannot change the ports: no monitor answers', { cause }));
      socket.on('data', (chunk: Uint8Array) => {
        try {
          push(chunk);
        } catch (error) {
          gone(error);
        }
      });
      socket.on('error', gone);
      socket.on('close', () => gone());
      socket.write(frameHeader(FRAME.ports, 0));
    });
  } finally {
    socket.destroy();
    address.close();
  }
}
