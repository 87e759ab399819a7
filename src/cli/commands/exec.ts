import { TinyrunError } from '../../errors.ts';
import { attachSession } from '../attach-session.ts';
import type { Command } from '../command.ts';
import { environmentOf } from '../create-options.ts';
import { DEFAULT_DETACH_KEYS, parseDetachKeys } from '../detach-keys.ts';
import { FlagError } from '../parse.ts';

export const exec: Command = {
  name: 'exec',
  summary: 'Execute a command in a running container',
  usage: '[OPTIONS] CONTAINER COMMAND [ARG...]',
  options: [
    { long: 'detach', short: 'd', type: 'bool', help: 'Detached mode: run command in the background' },
    { long: 'detach-keys', type: 'string', help: 'Override the key sequence for detaching a container' },
    { long: 'env', short: 'e', type: 'list', help: 'Set environment variables' },
    { long: 'env-file', type: 'list', value: 'file', help: 'Read in a file of environment variables' },
    { long: 'interactive', short: 'i', type: 'bool', help: 'Keep STDIN open even if not attached' },
    { long: 'privileged', type: 'bool', help: 'Give extended privileges to the command' },
    { long: 'tty', short: 't', type: 'bool', help: 'Allocate a pseudo-TTY' },
    {
      long: 'user',
      short: 'u',
      type: 'string',
      help: 'Username or UID (format: "<name|uid>[:<group|gid>]")',
    },
    {
      long: 'with-client',
      type: 'bool',
      help: 'Kill the command when this client ends, however it ends',
    },
    { long: 'workdir', short: 'w', type: 'string', help: 'Working directory inside the container' },
  ],
  operands: { min: 2 },
  interspersed: false,
  async run({ context, parsed, engine: open }) {
    const [name = '', ...command] = parsed.operands;
    const detach = parsed.bool('detach');
    const tty = parsed.bool('tty');
    const openStdin = parsed.bool('interactive') && !detach;
    const withClient = parsed.bool('with-client');
    if (detach && withClient) {
      throw new FlagError('conflicting options: cannot specify both --detach and --with-client');
    }
    const detachKeys = parsed.one('detach-keys', parseDetachKeys) ?? parseDetachKeys(DEFAULT_DETACH_KEYS);
    const env = environmentOf(parsed, context);
    if (tty && openStdin && context.stdin.isTTY !== true) {
      throw new TinyrunError('invalid', 'the input device is not a TTY');
    }
    const user = parsed.string('user');
    const workingDir = parsed.string('workdir');
    const engine = await open();
    const { rows, columns } = tty ? context.stdout : {};
    const { session } = await engine.exec(
      name,
      {
        command,
        env,
        privileged: parsed.bool('privileged'),
        tty,
        openStdin,
        withClient,
        ...(user ? { user } : {}),
        ...(workingDir ? { workingDir } : {}),
      },
      {
        stdio: detach ? 'detached' : 'attach',
        followed: !tty && !openStdin,
        ...(rows === undefined || columns === undefined ? {} : { size: { rows, columns } }),
      },
    );
    if (detach) {
      session.close();
      return 0;
    }
    const end = await attachSession(context, session, {
      tty,
      stdin: openStdin,
      stdout: true,
      stderr: true,
      detachKeys,
    });
    return end.type === 'detached' ? 0 : end.exitCode;
  },
};
