import type { Command } from '../command.ts';
import { forEach } from '../for-each.ts';

export const manifestRm: Command = {
  name: 'manifest rm',
  summary: 'Delete one or more manifest lists from local storage',
  usage: 'MANIFEST_LIST [MANIFEST_LIST...]',
  options: [],
  operands: { min: 1 },
  async run({ context, parsed, engine: open }) {
    const engine = await open();
    return forEach(context, parsed.operands, (name) => engine.removeManifestList(name));
  },
};
