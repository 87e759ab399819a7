import type { Command } from '../command.ts';

export const tag: Command = {
  name: 'tag',
  summary: 'Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE',
  usage: 'SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]',
  options: [],
  operands: { min: 2, max: 2 },
  async run({ parsed, engine: open }) {
    const engine = await open();
    const [source = '', target = ''] = parsed.operands;
    await engine.tagImage(source, target);
    return 0;
  },
};
