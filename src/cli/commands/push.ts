import { TinyrunError } from '../../errors.ts';
import type { Command } from '../command.ts';
import { PushProgress } from '../push-progress.ts';

export const push: Command = {
  name: 'push',
  summary: 'Upload an image to a registry',
  usage: '[OPTIONS] NAME[:TAG]',
  options: [
    {
      long: 'all-platforms',
      type: 'bool',
      help: 'Push the index of a multi-platform image with all images of it that are here',
    },
    { long: 'all-tags', short: 'a', type: 'bool', help: 'Push all tags of an image to the repository' },
    { long: 'platform', type: 'string', help: 'Push the image of this platform of a multi-platform image' },
    { long: 'quiet', short: 'q', type: 'bool', help: 'Suppress verbose output' },
  ],
  operands: { min: 1, max: 1 },
  async run({ context, parsed, engine: open }) {
    const engine = await open();
    const [name = ''] = parsed.operands;
    const quiet = parsed.bool('quiet');
    const { parseReference, withDefaultTag } = await import('../../engine/reference.ts');
    const typed = parseReference(name);
    const { tag } = withDefaultTag(typed);
    if (!quiet && !parsed.bool('all-tags') && typed.tag === undefined && tag !== undefined)
      context.stdout.write(`Using default tag: ${tag}\n`);
    const progress = new PushProgress(context);
    const platform = parsed.string('platform');
    if (platform !== undefined && parsed.bool('all-platforms'))
      throw new TinyrunError('invalid', '--all-platforms and --platform exclude each other');
    const pushed = await engine
      .push(name, {
        allTags: parsed.bool('all-tags'),
        allPlatforms: parsed.bool('all-platforms'),
        ...(platform === undefined || platform === '' ? {} : { platform }),
        onEvent: (event) => {
          if (!quiet) progress.event(event);
        },
        signal: context.signal,
      })
      .finally(() => progress.finish());
    if (quiet) context.stdout.write(pushed.map((one) => `${one.name}\n`).join(''));
    return 0;
  },
};
