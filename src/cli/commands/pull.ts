import { TinyrunError } from '../../errors.ts';
import type { Command } from '../command.ts';
import { openProgress } from '../progress.ts';

export const pull: Command = {
  name: 'pull',
  summary: 'Download an image from a registry',
  usage: '[OPTIONS] NAME[:TAG|@DIGEST]',
  options: [
    { long: 'all-tags', short: 'a', type: 'bool', help: 'Download all tagged images in the repository' },
    { long: 'platform', type: 'string', help: 'Set platform if server is multi-platform capable' },
    { long: 'quiet', short: 'q', type: 'bool', help: 'Suppress verbose output' },
  ],
  operands: { min: 1, max: 1 },
  async run({ context, parsed, engine: open }) {
    if (parsed.bool('all-tags')) {
      throw new TinyrunError('unsupported', 'Cannot pull all tags of a repository yet', {
        hint: 'Pull the tags you need one by one',
      });
    }
    const engine = await open();
    const [name = ''] = parsed.operands;
    const quiet = parsed.bool('quiet');
    const { canonicalName, parseReference, withDefaultTag } = await import('../../engine/reference.ts');
    const typed = parseReference(name);
    const reference = withDefaultTag(typed);
    if (!quiet && typed !== reference && reference.tag !== undefined) {
      context.stdout.write(`Using default tag: ${reference.tag}\n`);
    }
    const progress = openProgress(context.stdout, { quiet, now: context.now });
    const platform = parsed.string('platform') ?? context.env.DOCKER_DEFAULT_PLATFORM;
    await engine
      .pull(name, {
        ...(platform === undefined || platform === '' ? {} : { platform }),
        onEvent: (event) => progress.event(event),
        signal: context.signal,
      })
      .finally(() => progress.finish());
    context.stdout.write(`${canonicalName(reference)}\n`);
    return 0;
  },
};
