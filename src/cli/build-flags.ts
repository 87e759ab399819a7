import type { BuildRequest } from '../engine/index.ts';
import { TinyrunError } from '../errors.ts';
import type { OptionSpec } from './command.ts';
import type { Context } from './context.ts';
import { keyValues } from './env-file.ts';
import { limitsOf } from './limit-flags.ts';
import { FlagError, type Parsed } from './parse.ts';

type Row = readonly [long: string, type: OptionSpec['type'], help: string, more?: Partial<OptionSpec>];

const ROWS: readonly Row[] = [
  ['add-host', 'list', 'Add a custom host-to-IP mapping ("host:ip")'],
  ['allow', 'list', 'Allow extra privileged entitlement (security.insecure, network.host)'],
  ['build-arg', 'list', 'Set build-time variables'],
  ['build-context', 'list', 'Additional build contexts (e.g., name=path)'],
  ['cache-from', 'list', 'External cache sources (e.g., "user/app:cache", "type=local,src=path/to/dir")'],
  ['cache-to', 'list', 'Cache export destinations (e.g., "type=local,dest=path/to/dir")'],
  ['call', 'string', 'Set method for evaluating build (build, check)', { default: 'build' }],
  ['cgroup-parent', 'string', 'Set the parent cgroup for the RUN instructions during build'],
  ['check', 'bool', 'Shorthand for "--call=check"'],
  ['compression', 'string', 'How layers are compressed (gzip|zstd|none)', { default: 'gzip' }],
  ['cpu-period', 'int', 'Limit the CPU CFS period (microseconds)'],
  ['cpu-quota', 'int', 'Limit the CPU CFS quota (microseconds)'],
  ['cpu-shares', 'int', 'CPU shares (relative weight)', { short: 'c' }],
  ['cpus', 'decimal', 'Number of CPUs'],
  ['cpuset-cpus', 'string', 'CPUs in which to allow execution (0-3, 0,1)'],
  ['cpuset-mems', 'string', 'MEMs in which to allow execution (0-3, 0,1)'],
  ['file', 'string', 'Name of the Dockerfile (default: "PATH/Dockerfile")', { short: 'f' }],
  ['iidfile', 'string', 'Write the image ID to a file'],
  ['label', 'list', 'Set metadata for an image'],
  ['memory', 'bytes', 'Memory limit', { short: 'm' }],
  ['memory-swap', 'string', "Swap limit equal to memory plus swap: '-1' to enable unlimited swap"],
  ['metadata-file', 'string', 'Write build result metadata to a file'],
  [
    'network',
    'string',
    'Set the networking mode for the RUN instructions during build',
    { default: 'default' },
  ],
  ['no-cache', 'bool', 'Do not use cache when building the image'],
  ['no-cache-filter', 'list', 'Do not cache specified stages'],
  ['output', 'list', 'Output destination (format: "type=local,dest=path")', { short: 'o' }],
  ['platform', 'list', 'Set target platform for build'],
  ['progress', 'string', 'Set type of progress output (auto, plain, tty, rawjson)', { default: 'auto' }],
  ['pull', 'bool', 'Always attempt to pull all referenced images'],
  ['push', 'bool', 'Shorthand for "--output=type=registry"'],
  ['quiet', 'bool', 'Suppress the build output and print image ID on success', { short: 'q' }],
  ['secret', 'list', 'Secret to expose to the build (format: "id=mysecret[,src=/local/secret]")'],
  ['shm-size', 'bytes', 'Shared memory size for build containers'],
  ['ssh', 'list', 'SSH agent socket to expose to the build (format: "default|<id>[=<socket>]")'],
  ['tag', 'list', 'Name and optionally a tag (format: "name:tag")', { short: 't' }],
  ['target', 'string', 'Set the target build stage to build'],
  ['timestamp', 'string', 'Seconds since 1970 for all times of the image (also SOURCE_DATE_EPOCH)'],
  ['ulimit', 'list', 'Ulimit options'],
  // Docker's defaults, said by scripts.
  ['force-rm', 'bool', 'Always remove intermediate containers', { hidden: true }],
  ['rm', 'bool', 'Remove intermediate containers after a successful build', { hidden: true }],
  ['load', 'bool', 'The image goes to the store', { hidden: true }],
];

export const BUILD_FLAGS: readonly OptionSpec[] = ROWS.map(([long, type, help, more]) => ({
  long,
  type,
  help,
  ...more,
}));

/** What the flags ask for, but for what the command itself does (output, progress). */
export type BuildOptions = Omit<BuildRequest, 'onEvent' | 'signal'>;

/** @throws FlagError, TinyrunError `invalid` */
export async function buildOptions(parsed: Parsed, context: Context): Promise<BuildOptions> {
  const { env, cwd } = context;
  const [path = '.'] = parsed.operands;
  const file = parsed.string('file');
  const target = parsed.string('target');
  const epoch = epochOf(parsed.string('timestamp') ?? env.SOURCE_DATE_EPOCH);
  const allowed = parsed.list('allow');
  const filter = parsed.list('no-cache-filter').flatMap((text) => text.split(','));
  const { parseUlimit } = await import('./container-flags.ts');
  const shmSize = parsed.number('shm-size');
  return {
    context: path,
    ...(file === undefined || file === '' ? {} : { file }),
    cwd,
    ...(path === '-' || file === '-' ? { stdin: stdinOf(context) } : {}),
    tags: parsed.list('tag'),
    outputs: outputsOf(parsed),
    ...(context.stdout.isTTY === true ? {} : { write: writerOf(context.stdout) }),
    ...(target === undefined || target === '' ? {} : { target }),
    buildArgs: buildArgsOf(parsed.list('build-arg'), env),
    buildContexts: parsed.list('build-context'),
    secrets: await secretsOf(parsed.list('secret'), context),
    ssh: sshOf(parsed.list('ssh'), env),
    labels: keyValues(parsed.list('label')),
    noCache: parsed.bool('no-cache') || (filter.length > 0 ? filter : false),
    pull: parsed.bool('pull'),
    platforms: platformsOf(parsed, env),
    network: networkOf(parsed.string('network') ?? 'default'),
    allowInsecure: allowed.includes('security.insecure'),
    run: {
      limits: limitsOf(parsed),
      extraHosts: parsed.list('add-host').map((text) => text.replace('=', ':')),
      ulimits: parsed.each('ulimit', parseUlimit),
      ...(shmSize === undefined ? {} : { shmSize }),
    },
    compression: compressionOf(parsed.string('compression')),
    ...(epoch === undefined ? {} : { epoch }),
    cacheFrom: parsed.list('cache-from'),
    cacheTo: parsed.list('cache-to'),
  };
}

/** `--push` and `--load` are outputs, too. */
function outputsOf(parsed: Parsed): string[] {
  const outputs = [...parsed.list('output')];
  if (parsed.bool('push')) outputs.push('type=registry');
  if (parsed.bool('load')) outputs.push('type=docker');
  return outputs;
}

function writerOf(output: Context['stdout']): (chunk: Uint8Array) => Promise<void> {
  return (chunk) =>
    new Promise((resolve) => {
      if (output.write(chunk)) resolve();
      else output.once('drain', () => resolve());
    });
}

async function* stdinOf({ stdin }: Context): AsyncGenerator<Uint8Array> {
  for await (const chunk of stdin) yield typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
}

function epochOf(text: string | undefined): number | undefined {
  if (text === undefined || text === '') return undefined;
  if (!/^[0-9]{1,11}$/.test(text)) {
    throw new TinyrunError('invalid', `invalid SOURCE_DATE_EPOCH: ${text}, expected seconds since 1970`);
  }
  return Number(text);
}

/** `KEY=value`; a key alone has its value from the environment, or is not given where that has none. */
function buildArgsOf(texts: readonly string[], env: Context['env']): Record<string, string> {
  const result: Record<string, string> = {};
  for (const text of texts) {
    const at = text.indexOf('=');
    const key = at < 0 ? text : text.slice(0, at);
    const value = at < 0 ? env[text] : text.slice(at + 1);
    if (key === '') throw new FlagError(`invalid argument "${text}" for "--build-arg" flag: no name`);
    if (value !== undefined) result[key] = value;
  }
  return result;
}

function platformsOf(parsed: Parsed, env: Context['env']): string[] {
  const given = parsed.list('platform').flatMap((text) => text.split(','));
  if (given.length > 0) return given.map((text) => text.trim()).filter((text) => text !== '');
  const standard = env.DOCKER_DEFAULT_PLATFORM;
  return standard === undefined || standard === '' ? [] : [standard];
}

function networkOf(text: string): BuildRequest['network'] {
  if (text === 'none' || text === 'host') return text;
  if (text === 'default' || text === 'bridge') return 'default';
  throw new TinyrunError('unsupported', `network mode ${JSON.stringify(text)} is not supported for builds`, {
    hint: 'Use default, none or host',
  });
}

function compressionOf(text: string | undefined): BuildRequest['compression'] {
  if (text === undefined || text === 'gzip') return 'gzip';
  if (text === 'zstd') return 'zstd';
  if (text === 'none' || text === 'uncompressed') return 'none';
  throw new FlagError(`invalid argument "${text}" for "--compression" flag: expected gzip, zstd or none`);
}

/** `id=x,src=FILE`, `id=x,env=NAME`, `type=file|env`; the id alone is an environment variable or a file of that name. */
async function secretsOf(texts: readonly string[], { env, cwd }: Context): Promise<BuildRequest['secrets']> {
  const { readFile } = await import('node:fs/promises');
  const { resolve } = await import('node:path');
  return new Map(
    texts.map((text) => {
      const fields = fieldsOf(text, 'secret');
      const type = fields.get('type');
      const variable = fields.get('env');
      const file = fields.get('src') ?? fields.get('source');
      const id = fields.get('id') ?? file?.split('/').at(-1) ?? variable;
      if (id === undefined || id === '')
        throw new FlagError(`invalid argument "${text}" for "--secret" flag: no id`);
      const name = variable ?? (type === 'env' ? (file ?? id) : undefined);
      const fromEnv = name ?? (file === undefined && env[id] !== undefined ? id : undefined);
      const read = async (): Promise<Uint8Array> => {
        if (fromEnv !== undefined) return Buffer.from(env[fromEnv] ?? '');
        try {
          return await readFile(resolve(cwd, file ?? id));
        } catch (cause) {
          throw new TinyrunError('not_found', `failed to read secret ${id}: ${resolve(cwd, file ?? id)}`, {
            cause,
          });
        }
      };
      return [id, { read }];
    }),
  );
}

function sshOf(texts: readonly string[], env: Context['env']): Map<string, string> {
  return new Map(
    texts.map((text) => {
      const at = text.indexOf('=');
      const id = at < 0 ? text : text.slice(0, at);
      const socket = at < 0 ? env.SSH_AUTH_SOCK : text.slice(at + 1);
      if (socket === undefined || socket === '') {
        throw new TinyrunError('invalid', `invalid empty ssh agent socket for "${id}"`, {
          hint: 'Make sure SSH_AUTH_SOCK is set',
        });
      }
      return [id, socket];
    }),
  );
}

function fieldsOf(text: string, flag: string): Map<string, string> {
  return new Map(
    text.split(',').map((field) => {
      const at = field.indexOf('=');
      if (at < 1) throw new FlagError(`invalid argument "${text}" for "--${flag}" flag: expected key=value`);
      return [field.slice(0, at).toLowerCase(), field.slice(at + 1)];
    }),
  );
}
