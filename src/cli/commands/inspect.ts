import type { Engine, Inspection } from '../../engine/index.ts';
import { TinyrunError } from '../../errors.ts';
import type { Call, Command } from '../command.ts';
import { forEach } from '../for-each.ts';
import { templateOf } from '../format.ts';

type Finder = (engine: Engine, name: string) => Promise<Inspection | undefined>;

const OPTIONS: Command['options'] = [
  { long: 'format', short: 'f', type: 'string', help: 'Format output using a Go template, or "json"' },
  { long: 'size', short: 's', type: 'bool', help: 'Display total file sizes if the type is container' },
  { long: 'type', type: 'string', help: 'Only inspect objects of the given type (container|image)' },
];

const REMOTE_OPTIONS: Command['options'] = [
  ...OPTIONS,
  { long: 'insecure', type: 'bool', help: 'With --remote: allow communication with an insecure registry' },
  { long: 'platform', type: 'string', help: 'With --remote: which image of a multi-platform image' },
  { long: 'raw', type: 'bool', help: "With --remote: print the manifest's very bytes" },
  { long: 'remote', type: 'bool', help: 'Inspect an image in its registry, without pulling it' },
];

export const inspect: Command = {
  name: 'inspect',
  summary: 'Return low-level information on containers and images',
  usage: '[OPTIONS] NAME|ID [NAME|ID...]',
  options: REMOTE_OPTIONS,
  operands: { min: 1 },
  run: async (call) =>
    (await inspectRemote(call)) ?? show(call, findersOf(call.parsed.string('type')), 'object'),
};

export const inspectContainer: Command = {
  ...inspect,
  name: 'container inspect',
  summary: 'Display detailed information on one or more containers',
  usage: '[OPTIONS] CONTAINER [CONTAINER...]',
  options: OPTIONS,
  run: async (call) => show(call, [container], 'container'),
};

export const inspectImage: Command = {
  ...inspect,
  name: 'image inspect',
  summary: 'Display detailed information on one or more images',
  usage: '[OPTIONS] IMAGE [IMAGE...]',
  run: async (call) => (await inspectRemote(call)) ?? show(call, [image], 'image'),
};

/** Undefined where --remote is not given. */
async function inspectRemote(call: Call): Promise<number | undefined> {
  const { context, parsed, engine: open } = call;
  if (!parsed.bool('remote')) {
    const lost = ['insecure', 'platform', 'raw'].find((long) => parsed.has(long));
    if (lost !== undefined) throw new TinyrunError('invalid', `--${lost} needs --remote`);
    return undefined;
  }
  const platform = parsed.string('platform') ?? context.env.DOCKER_DEFAULT_PLATFORM;
  const how = {
    insecure: parsed.bool('insecure'),
    signal: context.signal,
    ...(platform === undefined || platform === '' ? {} : { platform }),
  };
  if (!parsed.bool('raw')) return show(call, [(engine, name) => engine.remoteImage(name, how)], 'image');
  const engine = await open();
  return forEach(context, parsed.operands, async (name) => {
    context.stdout.write((await engine.remoteManifest(name, how)).bytes);
  });
}

function findersOf(type: string | undefined): readonly Finder[] {
  if (type === undefined || type === '') return [container, image];
  if (type === 'container') return [container];
  if (type === 'image') return [image];
  throw new TinyrunError('invalid', `"${type}" is not a valid value for --type`);
}

const container: Finder = async (engine, name) => {
  try {
    return await engine.inspect(name);
  } catch (error) {
    if (error instanceof TinyrunError && error.kind === 'not_found') return undefined;
    throw error;
  }
};

const image: Finder = async (engine, name) => {
  try {
    return await engine.inspectImage(name);
  } catch (error) {
    // A name that cannot be an image's is not one.
    if (error instanceof TinyrunError && error.kind === 'invalid') return undefined;
    throw error;
  }
};

async function show(
  { context, parsed, engine: open }: Call,
  finders: readonly Finder[],
  what: string,
): Promise<number> {
  const engine = await open();
  const format = parsed.string('format');
  const template = format === undefined || format === '' ? undefined : templateOf(format);
  const found: Inspection[] = [];
  const code = await forEach(context, parsed.operands, async (name) => {
    const value = await firstOf(finders, engine, name);
    if (value === undefined) throw new TinyrunError('not_found', `No such ${what}: ${name}`);
    if (template === undefined) found.push(value);
    else context.stdout.write(`${template(value)}\n`);
  });
  if (template === undefined) context.stdout.write(`${JSON.stringify(found, null, 4)}\n`);
  return code;
}

async function firstOf(
  finders: readonly Finder[],
  engine: Engine,
  name: string,
): Promise<Inspection | undefined> {
  for (const find of finders) {
    const value = await find(engine, name);
    if (value !== undefined) return value;
  }
  return undefined;
}
