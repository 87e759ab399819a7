import type { Command } from '../command.ts';
import { CREATE_FLAGS } from '../create-flags.ts';
import { environmentOf } from '../create-options.ts';
import { forEach } from '../for-each.ts';
import { parseRestart } from '../life-flags.ts';
import { limitsOf } from '../limit-flags.ts';
import { FlagError } from '../parse.ts';
import { parsePublish } from '../ports.ts';
import { RATE_FLAGS, ratesOf } from '../rate-flags.ts';

/** Of the flags of `run` those that a container can take while it runs. */
const LIVE: readonly string[] = [
  'blkio-weight',
  'cgroup-conf',
  'cpu-period',
  'cpu-quota',
  'cpu-rt-period',
  'cpu-rt-runtime',
  'cpu-shares',
  'cpus',
  'cpuset-cpus',
  'cpuset-mems',
  'memory',
  'memory-high',
  'memory-reservation',
  'memory-swap',
  'oom-group',
  'pids-limit',
];

export const update: Command = {
  name: 'update',
  summary: 'Update configuration of one or more containers',
  usage: '[OPTIONS] CONTAINER [CONTAINER...]',
  options: [
    ...CREATE_FLAGS.filter(({ long }) => [...LIVE, ...RATE_FLAGS].includes(long)),
    {
      long: 'env',
      short: 'e',
      type: 'list',
      help: 'Set environment variables of a container that does not run',
    },
    {
      long: 'publish-add',
      type: 'list',
      value: 'port',
      help: 'Publish a port, also while the container runs',
    },
    {
      long: 'publish-rm',
      type: 'list',
      value: 'port',
      help: 'Take a published port back ([IP:][HOST:]CONTAINER[/PROTOCOL])',
    },
    { long: 'restart', type: 'string', help: 'Restart policy to apply when a container exits' },
  ],
  operands: { min: 1 },
  async run({ context, parsed, engine: open }) {
    if (
      ![...LIVE, ...RATE_FLAGS, 'env', 'publish-add', 'publish-rm', 'restart'].some((long) =>
        parsed.has(long),
      )
    ) {
      throw new FlagError('you must provide one or more flags when using this command');
    }
    const restart = parsed.one('restart', parseRestart);
    const changes = { ...limitsOf(parsed), ...(restart === undefined ? {} : { restart }) };
    const env = environmentOf(parsed, context);
    const ports = {
      add: parsed.each('publish-add', parsePublish),
      remove: parsed.each('publish-rm', parsePublish),
    };
    const rates = ratesOf(parsed);
    const engine = await open();
    return forEach(context, parsed.operands, async (name) => {
      if (ports.add.length + ports.remove.length > 0) await engine.updatePorts(name, ports);
      if (rates !== undefined) await engine.updateRates(name, rates);
      if (env.length > 0) await engine.updateEnvironment(name, env);
      const { warnings } = await engine.update(name, changes);
      for (const warning of warnings) context.stderr.write(`WARNING: ${warning}\n`);
      context.stdout.write(`${name}\n`);
    });
  },
};
