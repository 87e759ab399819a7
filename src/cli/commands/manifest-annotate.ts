import type { Command } from '../command.ts';

export const manifestAnnotate: Command = {
  name: 'manifest annotate',
  summary: 'Add additional information to a local image manifest',
  usage: '[OPTIONS] MANIFEST_LIST MANIFEST',
  options: [
    { long: 'arch', type: 'string', help: 'Set architecture' },
    { long: 'os', type: 'string', help: 'Set operating system' },
    { long: 'os-features', type: 'list', help: 'Set operating system feature' },
    { long: 'os-version', type: 'string', help: 'Set operating system version' },
    { long: 'variant', type: 'string', help: 'Set architecture variant' },
  ],
  operands: { min: 2, max: 2 },
  async run({ parsed, engine: open }) {
    const engine = await open();
    const [list = '', image = ''] = parsed.operands;
    const given = (long: string): string | undefined => parsed.string(long) || undefined;
    const [os, architecture, variant, osVersion] = ['os', 'arch', 'variant', 'os-version'].map(given);
    await engine.annotateManifestList(list, image, {
      ...(os === undefined ? {} : { os }),
      ...(architecture === undefined ? {} : { architecture }),
      ...(variant === undefined ? {} : { variant }),
      ...(osVersion === undefined ? {} : { osVersion }),
      osFeatures: parsed.list('os-features').flatMap((text) => text.split(',')),
    });
    return 0;
  },
};
