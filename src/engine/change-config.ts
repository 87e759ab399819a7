import { parseDockerfile } from '../build/dockerfile/parse.ts';
import { type Draft, setVariable } from '../build/image-config.ts';
import { configStep, inWorkdir, type StageMemory } from '../build/step-config.ts';
import { StageVariables } from '../build/step-variables.ts';
import { TinyrunError } from '../errors.ts';
import type { ProcessDefaults } from '../oci/image-spec.ts';
import type { ContainerRecord } from './containers.ts';
import { healthcheckOf } from './inspect.ts';

/** The instructions that Docker takes for `--change`. */
const CHANGES: ReadonlySet<string> = new Set([
  ...['CMD', 'ENTRYPOINT', 'ENV', 'EXPOSE', 'HEALTHCHECK', 'LABEL'],
  ...['ONBUILD', 'STOPSIGNAL', 'USER', 'VOLUME', 'WORKDIR'],
]);

/**
 * Applies `--change` of commit and import: lines of a Dockerfile, in order; they are no steps of the history.
 * @throws TinyrunError `invalid` in Docker's words
 */
export function changeConfig(draft: Draft, changes: readonly string[]): Draft {
  if (changes.length === 0) return draft;
  const { escape: token, instructions } = parseDockerfile(changes.join('\n'), '--change');
  const sources = { buildArgs: {}, globalArgs: new Map<string, string>(), platformArgs: {} };
  const memory: StageMemory = { variables: new StageVariables(sources, token), hasCmd: false };
  let changed = draft;
  for (const instruction of instructions) {
    const { name } = instruction;
    if (!CHANGES.has(name)) {
      throw new TinyrunError('invalid', `${name.toLowerCase()} is not a valid change command`);
    }
    if (name === 'FROM' || name === 'RUN' || name === 'COPY' || name === 'ADD') continue;
    if (name === 'WORKDIR') {
      const path = memory.variables.expand(instruction.path, changed.config.Env ?? []);
      const WorkingDir = inWorkdir(changed, path).replace(/(?<=.)\/$/, '');
      changed = { ...changed, config: { ...changed.config, WorkingDir } };
      continue;
    }
    const { ArgsEscaped: _, ...config } = configStep(changed, instruction, memory).config;
    changed = { ...changed, config };
  }
  return changed;
}

/** What a container was really run with, as the defaults of an image that is made of it. */
export function effectiveConfig(record: ContainerRecord): ProcessDefaults {
  const { image, options } = record;
  const { config } = image;
  const check = healthcheckOf(record);
  const { Cmd, Entrypoint, ...rest } = config;
  const command = options.command.length > 0 ? options.command : undefined;
  const entrypoint = options.entrypoint ?? Entrypoint;
  // An entrypoint of its own drops the image's command, too.
  const cmd = command ?? (options.entrypoint === undefined ? Cmd : undefined);
  return {
    ...rest,
    ...present('User', options.user),
    ...present('WorkingDir', options.workingDir),
    ...present('StopSignal', options.stopSignal),
    ...some('Env', withVariables(config.Env ?? [], options.env)),
    ...some('Labels', { ...config.Labels, ...options.labels }),
    ...some('ExposedPorts', {
      ...config.ExposedPorts,
      ...Object.fromEntries(options.network.expose.map((port) => [port, {}])),
    }),
    ...(entrypoint === undefined || entrypoint.length === 0 ? {} : { Entrypoint: entrypoint }),
    ...(cmd === undefined ? {} : { Cmd: cmd }),
    ...(check === undefined ? {} : { Healthcheck: check }),
  };
}

/** A name alone takes that variable away. */
function withVariables(image: readonly string[], requested: readonly string[]): readonly string[] {
  return requested.reduce<readonly string[]>((all, entry) => {
    const equals = entry.indexOf('=');
    if (equals < 0) return all.filter((one) => !one.startsWith(`${entry}=`));
    return setVariable(all, entry.slice(0, equals), entry.slice(equals + 1));
  }, image);
}

function present<Key extends string>(key: Key, value: string | undefined): { readonly [K in Key]?: string } {
  return (value === undefined ? {} : { [key]: value }) as { readonly [K in Key]?: string };
}

function some<Key extends string, T extends object>(key: Key, value: T): { readonly [K in Key]?: T } {
  return (Object.keys(value).length === 0 ? {} : { [key]: value }) as { readonly [K in Key]?: T };
}
