import { resolve } from 'node:path';
import type { Command } from '../command.ts';

const DEFAULT_LISTEN = '127.0.0.1:5000';

export const registryServe: Command = {
  name: 'registry serve',
  summary: 'Serve images to other machines, for reading',
  usage: '[OPTIONS]',
  options: [
    {
      long: 'layout',
      type: 'string',
      value: 'dir',
      help: 'Serve an OCI image layout, instead of the images of this store',
    },
    {
      long: 'listen',
      type: 'string',
      value: 'address',
      default: DEFAULT_LISTEN,
      help: 'Address and port; port 0 takes any free one',
    },
  ],
  operands: { min: 0, max: 0 },
  async run({ context, parsed, engine: open }) {
    const { host, port } = parsed.one('listen', parseListen) ?? parseListen(DEFAULT_LISTEN);
    const layout = parsed.string('layout');
    const engine = await open();
    const stopped = new Promise<void>((resolveStopped) => {
      context.onSignal(['SIGINT', 'SIGTERM', 'SIGHUP'], () => resolveStopped());
    });
    const served = await engine.serve({
      host,
      port,
      ...(layout === undefined ? {} : { layout: resolve(context.cwd, layout) }),
    });
    context.stdout.write(`Serving images at ${served.url}\n`);
    if (!/^(127\.|localhost$|::1$)/.test(host)) {
      context.stderr.write(
        'Everybody who reaches this address can read all images: there is no password and no encryption\n',
      );
    }
    await stopped;
    await served.close();
    return 0;
  },
};

/** `host:port`, `[::1]:port`, `:port` for every address, or a port alone on loopback. */
export function parseListen(text: string): { host: string; port: number } {
  const match = /^(?:(?:\[([0-9a-fA-F:.]+)\]|([^:[\]]*)):)?(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) throw new Error('expected ADDRESS:PORT');
  const host = match[1] ?? match[2];
  return { host: host === undefined ? '127.0.0.1' : host === '' ? '0.0.0.0' : host, port };
}
