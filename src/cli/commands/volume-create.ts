import type { Command } from '../command.ts';
import { keyValues } from '../env-file.ts';
import { FlagError } from '../parse.ts';

export const volumeCreate: Command = {
  name: 'volume create',
  summary: 'Create a volume',
  usage: '[OPTIONS] [VOLUME]',
  options: [
    { long: 'driver', short: 'd', type: 'string', help: 'Specify volume driver name (local)' },
    { long: 'label', type: 'list', help: 'Set metadata for a volume' },
    { long: 'name', type: 'string', help: 'Specify volume name', hidden: true },
    { long: 'opt', short: 'o', type: 'list', value: 'map', help: 'Set driver specific options' },
  ],
  operands: { min: 0, max: 1 },
  async run({ context, parsed, engine: open }) {
    const [operand] = parsed.operands;
    const flag = parsed.string('name');
    if (operand !== undefined && flag !== undefined) {
      throw new FlagError('conflicting options: either specify --name or provide positional arg, not both');
    }
    const name = operand ?? flag;
    const driver = parsed.string('driver');
    const engine = await open();
    const made = await engine.createVolume({
      ...(name === undefined || name === '' ? {} : { name }),
      ...(driver === undefined ? {} : { driver }),
      labels: keyValues(parsed.list('label')),
      options: keyValues(parsed.list('opt')),
    });
    context.stdout.write(`${made}\n`);
    return 0;
  },
};
