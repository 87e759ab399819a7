import { attachSession } from '../attach-session.ts';
import type { Command } from '../command.ts';
import { createFromFlags, createWithCidFile, parsePullPolicy } from '../create-container.ts';
import { CREATE_FLAGS } from '../create-flags.ts';
import { DEFAULT_DETACH_KEYS, parseDetachKeys } from '../detach-keys.ts';
import { pullReporter } from '../pull-reporter.ts';
import { WAIT_FLAGS, waitOf } from '../wait-flags.ts';

export const run: Command = {
  name: 'run',
  summary: 'Create and run a new container from an image',
  usage: '[OPTIONS] IMAGE [COMMAND] [ARG...]',
  options: [
    ...CREATE_FLAGS,
    { long: 'detach', short: 'd', type: 'bool', help: 'Run container in background and print container ID' },
    { long: 'detach-keys', type: 'string', help: 'Override the key sequence for detaching a container' },
    ...WAIT_FLAGS,
    { long: 'sig-proxy', type: 'bool', default: true, help: 'Proxy received signals to the process' },
  ],
  operands: { min: 1 },
  interspersed: false,
  errorExit: 125,
  async run({ context, parsed, engine: open }) {
    const detach = parsed.bool('detach');
    const wait = waitOf(parsed, detach);
    const keys = parsed.one('detach-keys', parseDetachKeys) ?? parseDetachKeys(DEFAULT_DETACH_KEYS);
    const policy = parsed.one('pull', parsePullPolicy) ?? 'missing';
    const request = createFromFlags(parsed, context, detach ? 'detached' : 'attached');
    const { options } = request;
    const engine = await open();
    const how = pullReporter(context, { policy, quiet: parsed.bool('quiet') });
    const created = await createWithCidFile(request, engine, how);
    const { rows, columns } = options.tty ? context.stdout : {};
    let recovering: Promise<void> | undefined;
    const { session, record } = await engine.startCreated(created, {
      stdio: detach && wait === undefined ? 'detached' : 'attach',
      followed: !detach && !options.tty && !options.attach.includes('stdin'),
      meanwhile: () => {
        recovering = engine.recover({ quick: true });
        return recovering;
      },
      ...(rows === undefined || columns === undefined ? {} : { size: { rows, columns } }),
      onWarning: (line) => context.stderr.write(`WARNING: ${line}\n`),
    });
    if (detach) {
      if (wait === undefined) session.close();
      context.stdout.write(`${record.id}\n`);
      await recovering;
      if (wait === undefined) return 0;
      const { waitReady } = await import('../wait-ready.ts');
      return waitReady({ context, engine }, record, { how: wait, session });
    }
    const forward = parsed.bool('sig-proxy', true) && !options.tty;
    const end = await attachSession(context, session, {
      tty: options.tty,
      stdin: options.attach.includes('stdin'),
      stdout: options.attach.includes('stdout'),
      stderr: options.attach.includes('stderr'),
      detachKeys: keys,
      onResize: (rows, columns) => engine.resized(record, { rows, columns }),
      ...(forward ? { forward: (signal) => engine.kill(record.id, signal) } : {}),
    });
    await recovering;
    return end.type === 'detached' ? 0 : end.exitCode;
  },
};
