import type { Command } from '../command.ts';

export const manifestPush: Command = {
  name: 'manifest push',
  summary: 'Push a manifest list to a repository',
  usage: '[OPTIONS] MANIFEST_LIST',
  options: [
    { long: 'insecure', type: 'bool', help: 'Allow push to an insecure registry' },
    { long: 'purge', short: 'p', type: 'bool', help: 'Remove the local manifest list after push' },
  ],
  operands: { min: 1, max: 1 },
  async run({ context, parsed, engine: open }) {
    const engine = await open();
    const { digest, pushed } = await engine.pushManifestList(parsed.operands[0] ?? '', {
      insecure: parsed.bool('insecure'),
      purge: parsed.bool('purge'),
      signal: context.signal,
    });
    for (const one of pushed)
      context.stdout.write(`Pushed ref ${one.reference} with digest: ${one.digest}\n`);
    context.stdout.write(`${digest}\n`);
    return 0;
  },
};
