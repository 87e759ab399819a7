import { isAbsolute, posix } from 'node:path';
import { TinyrunError } from '../errors.ts';
import type { Healthcheck } from '../oci/image-spec.ts';
import type { CommandLine, Instruction } from './dockerfile/ast.ts';
import { parseExposed } from './dockerfile/exposed-ports.ts';
import {
  DEFAULT_SHELL,
  type Draft,
  setVariable,
  withConfig,
  withEntrypoint,
  withHealthcheck,
} from './image-config.ts';
import type { StageVariables } from './step-variables.ts';

/** Instructions that change nothing but the config. */
export type ConfigInstruction = Exclude<Instruction, { name: 'FROM' | 'RUN' | 'COPY' | 'ADD' | 'WORKDIR' }>;

/** What a stage remembers besides the image that it makes. */
export interface StageMemory {
  readonly variables: StageVariables;
  /** A CMD of this stage survives a later ENTRYPOINT. */
  hasCmd: boolean;
}

/** @throws TinyrunError in BuildKit's words */
export function configStep(draft: Draft, instruction: ConfigInstruction, memory: StageMemory): Draft {
  const env = draft.config.Env ?? [];
  const expand = (word: string): string => memory.variables.expand(word, env);
  switch (instruction.name) {
    case 'ENV': {
      const pairs = instruction.pairs.map(({ key, value }) => [expand(key), expand(value)] as const);
      const next = pairs.reduce<readonly string[]>((all, [key, value]) => setVariable(all, key, value), env);
      return withConfig(draft, { ...draft.config, Env: next }, `ENV ${shownPairs(pairs)}`);
    }
    case 'LABEL': {
      const pairs = instruction.pairs.map(({ key, value }) => [expand(key), expand(value)] as const);
      return withLabels(draft, pairs);
    }
    case 'ARG':
      return declareArgs(draft, instruction, memory);
    case 'USER': {
      const user = expand(instruction.user);
      return withConfig(draft, { ...draft.config, User: user }, `USER ${user}`);
    }
    case 'CMD': {
      memory.hasCmd = true;
      const words = commandOf(draft, instruction.command);
      return withConfig(draft, { ...draft.config, Cmd: words, ArgsEscaped: true }, `CMD ${quoted(words)}`);
    }
    case 'ENTRYPOINT': {
      const words = commandOf(draft, instruction.command);
      return withConfig(
        draft,
        withEntrypoint(draft.config, words, memory.hasCmd),
        `ENTRYPOINT ${quoted(words)}`,
      );
    }
    case 'EXPOSE':
      return expose(
        draft,
        instruction.ports.flatMap((word) => memory.variables.words(word, env)),
      );
    case 'VOLUME': {
      const paths = instruction.paths.map(expand);
      if (paths.some((path) => path === '')) throw invalid('VOLUME specified can not be an empty string');
      const Volumes = { ...draft.config.Volumes, ...Object.fromEntries(paths.map((path) => [path, {}])) };
      return withConfig(draft, { ...draft.config, Volumes }, `VOLUME [${paths.join(' ')}]`);
    }
    case 'STOPSIGNAL': {
      const signal = expand(instruction.signal);
      if (!/^([0-9]+|(SIG)?[A-Z][A-Z0-9+-]*)$/i.test(signal)) throw invalid(`invalid signal: ${signal}`);
      return withConfig(draft, { ...draft.config, StopSignal: signal }, `STOPSIGNAL ${signal}`);
    }
    case 'HEALTHCHECK': {
      const check = healthcheckOf(draft, instruction);
      return withConfig(draft, withHealthcheck(draft.config, check), shownHealthcheck(check));
    }
    case 'SHELL': {
      const { words } = instruction;
      return withConfig(draft, { ...draft.config, Shell: words }, `SHELL [${words.join(' ')}]`);
    }
    case 'ONBUILD': {
      const OnBuild = [...(draft.config.OnBuild ?? []), instruction.expression];
      return withConfig(draft, { ...draft.config, OnBuild }, `ONBUILD ${instruction.expression}`);
    }
    case 'MAINTAINER': {
      const { maintainer } = instruction;
      return withConfig({ ...draft, author: maintainer }, draft.config, `MAINTAINER ${maintainer}`);
    }
  }
}

/** Also of `--label`. */
export function withLabels(draft: Draft, pairs: readonly (readonly [key: string, value: string])[]): Draft {
  const Labels = { ...draft.config.Labels, ...Object.fromEntries(pairs) };
  return withConfig(draft, { ...draft.config, Labels }, `LABEL ${shownPairs(pairs)}`);
}

/** Words for execve: what has no form of its own goes to the shell. */
export function commandOf(draft: Draft, command: CommandLine): readonly string[] {
  if (command.form === 'exec') return command.words;
  return [...(draft.config.Shell ?? DEFAULT_SHELL), command.text];
}

/** A path of an instruction, absolute: relative ones begin at the WORKDIR. A slash at its end stays. */
export function inWorkdir(draft: Draft, path: string): string {
  const absolute = isAbsolute(path) ? path : posix.join('/', draft.config.WorkingDir || '/', path);
  const clean = posix.normalize(absolute);
  const isDirectory = /(^|\/)\.{0,2}$/.test(path);
  return isDirectory && !clean.endsWith('/') ? `${clean}/` : clean;
}

function declareArgs(
  draft: Draft,
  { args }: Extract<ConfigInstruction, { name: 'ARG' }>,
  memory: StageMemory,
): Draft {
  const env = draft.config.Env ?? [];
  const shown = args.map(({ key, value }) => {
    const given = value === undefined ? undefined : memory.variables.expand(value, env);
    const result = memory.variables.declare(memory.variables.expand(key, env), given);
    return result === undefined ? key : `${key}=${result}`;
  });
  return withConfig(draft, draft.config, `ARG ${shown.join(' ')}`);
}

function expose(draft: Draft, words: readonly string[]): Draft {
  const ports = words.flatMap((word) => parseExposed(word).ports);
  const ExposedPorts = {
    ...draft.config.ExposedPorts,
    ...Object.fromEntries(ports.map((port) => [port, {}])),
  };
  return withConfig(draft, { ...draft.config, ExposedPorts }, `EXPOSE [${ports.join(' ')}]`);
}

function healthcheckOf(
  draft: Draft,
  instruction: Extract<ConfigInstruction, { name: 'HEALTHCHECK' }>,
): Healthcheck {
  const { command, flags } = instruction;
  if (command === undefined) return { Test: ['NONE'] };
  const Test =
    command.form === 'exec'
      ? ['CMD', ...command.words]
      : draft.config.Shell === undefined
        ? ['CMD-SHELL', command.text]
        : ['CMD', ...draft.config.Shell, command.text];
  return {
    Test,
    ...(flags.interval === undefined ? {} : { Interval: flags.interval }),
    ...(flags.timeout === undefined ? {} : { Timeout: flags.timeout }),
    ...(flags.startPeriod === undefined ? {} : { StartPeriod: flags.startPeriod }),
    ...(flags.startInterval === undefined ? {} : { StartInterval: flags.startInterval }),
    ...(flags.retries === undefined ? {} : { Retries: flags.retries }),
  };
}

/** As Go prints the struct, which is what the history of every built image has. */
function shownHealthcheck({ Test = [], ...rest }: Healthcheck): string {
  const seconds = (nanoseconds: number | undefined): string => JSON.stringify(goDuration(nanoseconds ?? 0));
  const times = [rest.Interval, rest.Timeout, rest.StartPeriod, rest.StartInterval].map(seconds).join(' ');
  return `HEALTHCHECK &{${quoted(Test)} ${times} '\\x${(rest.Retries ?? 0).toString(16).padStart(2, '0')}'}`;
}

/** Go's time.Duration.String for whole milliseconds. */
function goDuration(nanoseconds: number): string {
  if (nanoseconds === 0) return '0s';
  if (nanoseconds < 1e9) return `${nanoseconds / 1e6}ms`;
  const seconds = nanoseconds / 1e9;
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor(seconds / 60) % 60;
  const rest = `${Number((seconds % 60).toFixed(9))}s`;
  if (hours > 0) return `${hours}h${minutes}m${rest}`;
  return minutes > 0 ? `${minutes}m${rest}` : rest;
}

function shownPairs(pairs: readonly (readonly [string, string])[]): string {
  return pairs.map(([key, value]) => `${key}=${value}`).join(' ');
}

/** Go's %q of a list. */
function quoted(words: readonly string[]): string {
  return `[${words.map((word) => JSON.stringify(word)).join(' ')}]`;
}

function invalid(message: string): TinyrunError {
  return new TinyrunError('invalid', message);
}
