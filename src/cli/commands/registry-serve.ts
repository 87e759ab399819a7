import { resolve } from 'node:path';
import { TinyrunError } from '../../errors.ts';
import type { Command } from '../command.ts';
import { errorLines } from '../error-lines.ts';

const DEFAULT_LISTEN = '127.0.0.1:5000';

export const registryServe: Command = {
  name: 'registry serve',
  summary: 'Serve images to other machines',
  usage: '[OPTIONS]',
  options: [
    {
      long: 'htpasswd',
      type: 'string',
      value: 'file',
      help: 'Let in the users of this file only (lines of "user:bcrypt", made with "htpasswd -B")',
    },
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
    { long: 'tls-cert', type: 'string', value: 'file', help: 'Encrypt, with this certificate (PEM)' },
    { long: 'tls-key', type: 'string', value: 'file', help: 'The key of the certificate (PEM)' },
    {
      long: 'writable',
      type: 'bool',
      help: 'Let clients push and remove, too; what they push is named localhost/NAME here',
    },
  ],
  operands: { min: 0, max: 0 },
  async run({ context, parsed, engine: open }) {
    const { host, port } = parsed.one('listen', parseListen) ?? parseListen(DEFAULT_LISTEN);
    const file = (option: string): string | undefined => {
      const given = parsed.string(option);
      return given === undefined ? undefined : resolve(context.cwd, given);
    };
    const [layout, htpasswd, cert, key] = ['layout', 'htpasswd', 'tls-cert', 'tls-key'].map(file);
    const writable = parsed.bool('writable');
    if ((cert === undefined) !== (key === undefined))
      throw new TinyrunError('invalid', '--tls-cert and --tls-key need each other');
    const engine = await open();
    const stopped = new Promise<void>((resolveStopped) => {
      context.onSignal(['SIGINT', 'SIGTERM', 'SIGHUP'], () => resolveStopped());
    });
    const served = await engine.serve({
      host,
      port,
      writable,
      onError: (error) => context.stderr.write(`${errorLines(error, context).join('\n')}\n`),
      ...(layout === undefined ? {} : { layout }),
      ...(htpasswd === undefined ? {} : { htpasswd }),
      ...(cert === undefined || key === undefined ? {} : { tls: { cert, key } }),
    });
    context.stdout.write(`Serving images at ${served.url}\n`);
    if (!/^(127\.|localhost$|::1$)/.test(host)) {
      const lacks = [
        ...(htpasswd === undefined ? ['no password (--htpasswd)'] : []),
        ...(cert === undefined ? ['no encryption (--tls-cert)'] : []),
      ];
      const can = `can read ${writable ? 'and replace ' : ''}images`;
      if (lacks.length > 0)
        context.stderr.write(`Everybody who reaches this address ${can}: ${lacks.join(', ')}\n`);
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
