import { connect, createServer } from 'node:net';
import { TinyrunError } from '../errors.ts';

/**
 * A socket that leads to an agent's. The RUN gets this one: its owner and mode are what the Dockerfile says, and it is gone with the
 * RUN whatever the program keeps.
 * @returns what closes it
 */
export async function forwardSocket(agent: string, path: string): Promise<() => void> {
  const open = new Set<{ destroy(): void }>();
  const server = createServer((client) => {
    const upstream = connect(agent);
    for (const socket of [client, upstream]) {
      open.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => {
        open.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    client.pipe(upstream);
    upstream.pipe(client);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) => {
      reject(new TinyrunError('internal', `Cannot forward the agent "${agent}"`, { cause }));
    });
    server.listen(path, resolve);
  });
  return () => {
    server.close();
    for (const socket of open) socket.destroy();
  };
}
