import { attachSession } from '../attach-session.ts';
import type { Command } from '../command.ts';
import { DEFAULT_DETACH_KEYS, parseDetachKeys } from '../detach-keys.ts';

export const attach: Command = {
  name: 'attach',
  summary: 'Attach local standard input, output, and error streams to a running container',
  usage: '[OPTIONS] CONTAINER',
  options: [
    { long: 'detach-keys', type: 'string', help: 'Override the key sequence for detaching a container' },
    { long: 'no-stdin', type: 'bool', help: 'Do not attach STDIN' },
    { long: 'sig-proxy', type: 'bool', default: true, help: 'Proxy all received signals to the process' },
  ],
  operands: { min: 1, max: 1 },
  async run({ context, parsed, engine: open }) {
    const engine = await open();
    const keys = parsed.one('detach-keys', parseDetachKeys) ?? parseDetachKeys(DEFAULT_DETACH_KEYS);
    const { container, session } = await engine.attach(parsed.operands[0] ?? '');
    const { tty, openStdin } = container.record.options;
    const end = await attachSession(context, session, {
      tty,
      stdin: openStdin && !parsed.bool('no-stdin'),
      stdout: true,
      stderr: true,
      detachKeys: keys,
      onResize: (rows, columns) => engine.resized(container.record, { rows, columns }),
      ...(parsed.bool('sig-proxy', true) && !tty
        ? { forward: (signal) => engine.kill(container.id, signal) }
        : {}),
    });
    if (end.type === 'detached') context.stderr.write('read escape sequence\n');
    return end.type === 'detached' ? 0 : end.exitCode;
  },
};
