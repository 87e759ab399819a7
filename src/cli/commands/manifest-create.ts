import type { Command } from '../command.ts';

export const manifestCreate: Command = {
  name: 'manifest create',
  summary: 'Create a local manifest list for annotating and pushing to a registry',
  usage: 'MANIFEST_LIST MANIFEST [MANIFEST...]',
  options: [
    { long: 'amend', short: 'a', type: 'bool', help: 'Amend an existing manifest list' },
    { long: 'insecure', type: 'bool', help: 'Allow communication with an insecure registry' },
  ],
  operands: { min: 2 },
  async run({ context, parsed, engine: open }) {
    const engine = await open();
    const [list = '', ...images] = parsed.operands;
    const name = await engine.createManifestList(list, images, {
      amend: parsed.bool('amend'),
      insecure: parsed.bool('insecure'),
      signal: context.signal,
    });
    context.stdout.write(`Created manifest list ${name}\n`);
    return 0;
  },
};
