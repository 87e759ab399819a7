import { TinyrunError } from '../../errors.ts';
import { ask, readInput } from '../ask.ts';
import type { Call, Command } from '../command.ts';

/** Bytes that --password-stdin may bring: tokens of some clouds have thousands. */
const LONGEST_PASSWORD = 64 * 1024;

export const login: Command = {
  name: 'login',
  summary: 'Authenticate to a registry',
  usage: '[OPTIONS] [SERVER]',
  options: [
    { long: 'password', short: 'p', type: 'string', help: 'Password or Personal Access Token (PAT)' },
    {
      long: 'password-stdin',
      type: 'bool',
      help: 'Take the Password or Personal Access Token (PAT) from stdin',
    },
    { long: 'username', short: 'u', type: 'string', help: 'Username' },
  ],
  operands: { min: 0, max: 1 },
  async run(call) {
    const { context, parsed, engine: open } = call;
    const { username, password } = await credentialsOf(call);
    const engine = await open();
    const { plainFile } = await engine.login({
      server: parsed.operands[0] ?? '',
      username,
      password,
      signal: context.signal,
    });
    if (plainFile !== undefined) {
      context.stderr.write(
        `\nWARNING! Your credentials are stored unencrypted in '${plainFile}'.\n` +
          'Configure a credential helper to remove this warning. See\n' +
          'https://docs.docker.com/go/credential-store/\n\n',
      );
    }
    context.stdout.write('Login Succeeded\n');
    return 0;
  },
};

async function credentialsOf({ context, parsed }: Call): Promise<{ username: string; password: string }> {
  const fromStdin = parsed.bool('password-stdin');
  let username = parsed.string('username') ?? '';
  let password = parsed.string('password') ?? '';
  if (parsed.has('password')) {
    context.stderr.write('WARNING! Using --password via the CLI is insecure. Use --password-stdin.\n');
    if (fromStdin)
      throw new TinyrunError('invalid', '--password and --password-stdin are mutually exclusive');
  }
  if (fromStdin) {
    if (username === '') throw new TinyrunError('invalid', 'Must provide --username with --password-stdin');
    password = (await readInput(context.stdin, LONGEST_PASSWORD)).replace(/\n$/, '').replace(/\r$/, '');
  } else if (username === '' || password === '') {
    if (context.stdin.isTTY !== true) {
      throw new TinyrunError('invalid', 'Cannot perform an interactive login from a non TTY device', {
        hint: 'Give --username, and the password by --password-stdin',
      });
    }
    if (username === '') username = (await ask(context, 'Username: ')).trim();
    if (password === '') password = await ask(context, 'Password: ', true);
  }
  if (username === '') throw new TinyrunError('invalid', 'username is empty');
  if (password === '') throw new TinyrunError('invalid', 'password is empty');
  return { username, password };
}
