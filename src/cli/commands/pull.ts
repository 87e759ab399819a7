import { resolve } from 'node:path';
import type { Engine } from '../../engine/index.ts';
import { TinyrunError } from '../../errors.ts';
import type { Call, Command } from '../command.ts';
import { forEach } from '../for-each.ts';
import { openProgress } from '../progress.ts';
import { patienceOf, RETRY_OPTIONS } from '../retry-flags.ts';

export const pull: Command = {
  name: 'pull',
  summary: 'Download an image from a registry',
  usage: '[OPTIONS] NAME[:TAG|@DIGEST] [NAME...]',
  options: [
    { long: 'all-tags', short: 'a', type: 'bool', help: 'Download all tagged images in the repository' },
    {
      long: 'dry-run',
      type: 'bool',
      help: 'Only say what would be downloaded; exit with 0 where the image is up to date, 10 where not',
    },
    { long: 'platform', type: 'string', help: 'Set platform if server is multi-platform capable' },
    { long: 'quiet', short: 'q', type: 'bool', help: 'Suppress verbose output' },
    ...RETRY_OPTIONS,
    {
      long: 'signature-policy',
      type: 'string',
      value: 'file',
      help: 'Use this signature policy, in place of ~/.config/containers/policy.json or /etc/containers/policy.json',
    },
  ],
  operands: { min: 1 },
  async run(call) {
    const { context, parsed } = call;
    const engine = await call.engine();
    if (parsed.bool('dry-run')) return (await import('../pull-forecast.ts')).showForecasts(call, engine);
    const action = (name: string): Promise<void> =>
      parsed.bool('all-tags') ? pullTags(call, engine, name) : pullOne(call, engine, name);
    const [only = '', ...more] = parsed.operands;
    if (more.length > 0) return forEach(context, parsed.operands, action);
    await action(only);
    return 0;
  },
};

async function pullOne(call: Call, engine: Engine, name: string): Promise<void> {
  const { context, parsed } = call;
  const { canonicalName, parseReference, withDefaultTag } = await import('../../engine/reference.ts');
  const typed = parseReference(name);
  const reference = withDefaultTag(typed);
  if (!parsed.bool('quiet') && typed !== reference && reference.tag !== undefined) {
    context.stdout.write(`Using default tag: ${reference.tag}\n`);
  }
  await fetchImage(call, engine, name);
  context.stdout.write(`${canonicalName(reference)}\n`);
}

async function pullTags(call: Call, engine: Engine, name: string): Promise<void> {
  const { canonicalRepository, parseReference } = await import('../../engine/reference.ts');
  const reference = parseReference(name);
  if (reference.tag !== undefined || reference.digest !== undefined)
    throw new TinyrunError('invalid', "tag can't be used with --all-tags/-a");
  const tags = await engine.remoteTags(name, { signal: call.context.signal });
  for (const tag of tags) await fetchImage(call, engine, `${name}:${tag}`);
  call.context.stdout.write(`${canonicalRepository(reference)}\n`);
}

async function fetchImage(call: Call, engine: Engine, name: string): Promise<void> {
  const { context, parsed } = call;
  const progress = openProgress(context.stdout, { quiet: parsed.bool('quiet'), now: context.now });
  const platform = parsed.string('platform') ?? context.env.DOCKER_DEFAULT_PLATFORM;
  await engine
    .pull(name, {
      ...patienceOf(parsed),
      ...policyOf(call),
      ...(platform === undefined || platform === '' ? {} : { platform }),
      onEvent: (event) => progress.event(event),
      signal: context.signal,
    })
    .finally(() => progress.finish());
}

function policyOf({ context, parsed }: Call): { readonly signaturePolicy?: string } {
  const path = parsed.string('signature-policy');
  return path === undefined ? {} : { signaturePolicy: resolve(context.cwd, path) };
}
