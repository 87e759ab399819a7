import type { Command } from '../command.ts';

/** Podman's: `rmi` of a last name would take the image with it. */
export const untag: Command = {
  name: 'untag',
  summary: 'Remove names from an image, which stays',
  usage: 'IMAGE [NAME...]',
  options: [],
  operands: { min: 1 },
  async run({ parsed, engine: open }) {
    const engine = await open();
    const [image = '', ...names] = parsed.operands;
    await engine.untagImage(image, names);
    return 0;
  },
};
