import type { Command } from '../command.ts';

/** Docker's indentation. */
const INDENT = 3;

export const manifestInspect: Command = {
  name: 'manifest inspect',
  summary: 'Display an image manifest, or manifest list',
  usage: '[OPTIONS] IMAGE',
  options: [
    { long: 'insecure', type: 'bool', help: 'Allow communication with an insecure registry' },
    { long: 'raw', type: 'bool', help: 'Print the very bytes that the registry has' },
  ],
  operands: { min: 1, max: 1 },
  async run({ context, parsed, engine: open }) {
    const engine = await open();
    const [name = ''] = parsed.operands;
    const how = { insecure: parsed.bool('insecure'), signal: context.signal };
    const bytes = (await engine.localManifestList(name)) ?? (await engine.remoteManifest(name, how)).bytes;
    if (parsed.bool('raw')) context.stdout.write(bytes);
    else
      context.stdout.write(
        `${JSON.stringify(JSON.parse(Buffer.from(bytes).toString('utf8')), null, INDENT)}\n`,
      );
    return 0;
  },
};
