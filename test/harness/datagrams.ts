import { createSocket } from 'node:dgram';

/** Sends a datagram to loopback until it is answered. */
export function datagram(port: number, text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = createSocket('udp4');
    const again = setInterval(() => socket.send(text, port, '127.0.0.1'), 100);
    const done = (): void => {
      clearInterval(again);
      clearTimeout(timer);
      socket.close();
    };
    const timer = setTimeout(() => {
      done();
      reject(new Error(`No datagram came back from port ${port}`));
    }, 10_000);
    socket.once('message', (message) => {
      done();
      resolve(message.toString());
    });
  });
}
