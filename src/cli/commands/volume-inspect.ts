import type { VolumeFacts } from '../../engine/index.ts';
import type { Command } from '../command.ts';
import { forEach } from '../for-each.ts';
import { templateOf } from '../format.ts';

export const volumeInspect: Command = {
  name: 'volume inspect',
  summary: 'Display detailed information on one or more volumes',
  usage: '[OPTIONS] VOLUME [VOLUME...]',
  options: [
    { long: 'format', short: 'f', type: 'string', help: 'Format output using a Go template, or "json"' },
  ],
  operands: { min: 1 },
  async run({ context, parsed, engine: open }) {
    const engine = await open();
    const format = parsed.string('format');
    const template = format === undefined || format === '' ? undefined : templateOf(format);
    const found: unknown[] = [];
    const code = await forEach(context, parsed.operands, async (name) => {
      const value = inspection(await engine.volume(name));
      if (template === undefined) found.push(value);
      else context.stdout.write(`${template(value)}\n`);
    });
    if (template === undefined) context.stdout.write(`${JSON.stringify(found, null, 4)}\n`);
    return code;
  },
};

function inspection({ name, driver, labels, options, created, mountpoint }: VolumeFacts) {
  const orNull = (record: Readonly<Record<string, string>>) =>
    Object.keys(record).length === 0 ? null : record;
  return {
    CreatedAt: created,
    Driver: driver,
    Labels: orNull(labels),
    Mountpoint: mountpoint,
    Name: name,
    Options: orNull(options),
    Scope: 'local',
  };
}
