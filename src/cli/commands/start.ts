import { TinyrunError } from '../../errors.ts';
import { attachSession } from '../attach-session.ts';
import type { Call, Command } from '../command.ts';
import { DEFAULT_DETACH_KEYS, parseDetachKeys } from '../detach-keys.ts';
import { forEach } from '../for-each.ts';
import { FlagError } from '../parse.ts';

export const start: Command = {
  name: 'start',
  summary: 'Start one or more stopped containers',
  usage: '[OPTIONS] CONTAINER [CONTAINER...]',
  options: [
    {
      long: 'all-restartable',
      type: 'bool',
      help: 'Start what its restart policy wants to run, such as when the machine has come up',
    },
    { long: 'attach', short: 'a', type: 'bool', help: 'Attach STDOUT/STDERR and forward signals' },
    { long: 'detach-keys', type: 'string', help: 'Override the key sequence for detaching a container' },
    { long: 'interactive', short: 'i', type: 'bool', help: "Attach container's STDIN" },
    {
      long: 'sig-proxy',
      type: 'bool',
      default: true,
      help: 'Proxy received signals to the process',
      hidden: true,
    },
  ],
  operands: { min: 0 },
  async run(call) {
    const { context, parsed, engine: open } = call;
    const all = parsed.bool('all-restartable');
    if (all === parsed.operands.length > 0) {
      throw new FlagError(
        all ? '--all-restartable takes no containers' : "'tinyrun start' requires at least 1 argument",
      );
    }
    if (parsed.bool('attach') || parsed.bool('interactive')) return startAttached(call);
    const engine = await open();
    const names = all ? await engine.restartable() : parsed.operands;
    return forEach(context, names, async (name) => {
      const container = await engine.find(name);
      // Docker's start of a running container succeeds and does nothing.
      if (container.status !== 'running' && container.status !== 'restarting') {
        const { session } = await engine.start(container.id, {
          stdio: 'detached',
          onWarning: (line) => context.stderr.write(`WARNING: ${line}\n`),
        });
        session.close();
      }
      context.stdout.write(`${name}\n`);
    });
  },
};

async function startAttached({ context, parsed, engine: open }: Call): Promise<number> {
  const [name = '', ...others] = parsed.operands;
  if (others.length > 0) {
    throw new TinyrunError('invalid', 'you cannot start and attach multiple containers at once');
  }
  const engine = await open();
  const keys = parsed.one('detach-keys', parseDetachKeys) ?? parseDetachKeys(DEFAULT_DETACH_KEYS);
  const { record, status } = await engine.find(name);
  const { tty, openStdin, attach } = record.options;
  const { rows, columns } = tty ? context.stdout : {};
  const { session } =
    status === 'running'
      ? await engine.attach(name)
      : await engine.start(name, {
          stdio: 'attach',
          ...(rows === undefined || columns === undefined ? {} : { size: { rows, columns } }),
          onWarning: (line) => context.stderr.write(`WARNING: ${line}\n`),
        });
  const end = await attachSession(context, session, {
    tty,
    stdin: parsed.bool('interactive') && openStdin,
    stdout: attach.length === 0 || attach.includes('stdout'),
    stderr: attach.length === 0 || attach.includes('stderr'),
    detachKeys: keys,
    onResize: (rows, columns) => engine.resized(record, { rows, columns }),
    ...(parsed.bool('sig-proxy', true) && !tty
      ? { forward: (signal) => engine.kill(record.id, signal) }
      : {}),
  });
  return end.type === 'detached' ? 0 : end.exitCode;
}
