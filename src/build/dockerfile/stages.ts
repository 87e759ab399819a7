import { TinyrunError } from '../../errors.ts';
import type { Arg, Dockerfile, From, Instruction, Location } from './ast.ts';
import { atLine } from './build-file-error.ts';
import { expand, expandWith } from './expand.ts';
import type { Platform, Stage, StageSource, Stages, StagesInput } from './stage.ts';
import { didYouMean, suggest } from './suggest.ts';

/**
 * The stages of a Dockerfile, and which of them a target needs. Only what FROM, COPY --from and RUN --mount from= say counts:
 * all of it is known before anything is built. (ONBUILD triggers of base images may add more: sourceOf.)
 * @throws BuildFileError in BuildKit's words
 */
export function stages(dockerfile: Dockerfile, input: StagesInput): Stages {
  const { all, globalArgs } = readStages(dockerfile, input);
  const target = findTarget(all, input.target);
  const indexes = new Set<number>();
  const visit = (index: number): void => {
    if (indexes.has(index)) return;
    indexes.add(index);
    for (const need of all[index]?.needs ?? []) visit(need);
  };
  visit(target.index);
  return { all, target, needed: all.filter(({ index }) => indexes.has(index)), globalArgs };
}

interface Draft {
  readonly from: From;
  readonly instructions: Exclude<Instruction, From>[];
}

function readStages(
  dockerfile: Dockerfile,
  input: StagesInput,
): { all: Stage[]; globalArgs: Map<string, string> } {
  const { global, drafts } = divide(dockerfile);
  const globalArgs = globalArgsOf(dockerfile, global, input);
  const all: Stage[] = [];
  for (const [index, draft] of drafts.entries()) {
    const later = drafts.slice(index).map(({ from }) => from.alias);
    all.push(
      atLine(dockerfile, draft.from.location, () =>
        stageOf(dockerfile, draft, { index, before: all, later, globalArgs, contexts: contextNames(input) }),
      ),
    );
  }
  return { all, globalArgs };
}

function divide(dockerfile: Dockerfile): { global: Arg[]; drafts: Draft[] } {
  const global: Arg[] = [];
  const drafts: Draft[] = [];
  for (const instruction of dockerfile.instructions) {
    const current = drafts.at(-1);
    if (instruction.name === 'FROM') drafts.push({ from: instruction, instructions: [] });
    else if (current !== undefined) current.instructions.push(instruction);
    else if (instruction.name === 'ARG') global.push(instruction);
    else
      atLine(dockerfile, instruction.location, () => {
        throw invalid('no build stage in current context');
      });
  }
  if (drafts.length === 0) throw invalid('dockerfile contains no stages to build');
  return { global, drafts };
}

/** The ARGs before the first FROM, over the predefined ones; each may use those before it. */
export function globalArgsOf(
  dockerfile: Dockerfile,
  global: readonly Arg[],
  { platformArgs, buildArgs }: Pick<StagesInput, 'platformArgs' | 'buildArgs'>,
): Map<string, string> {
  const values = new Map<string, string>();
  for (const [name, value] of Object.entries(platformArgs)) values.set(name, buildArgs[name] ?? value);
  for (const { args, location } of global) {
    for (const { key, value } of args) {
      const given = Object.hasOwn(buildArgs, key) ? buildArgs[key] : undefined;
      const result =
        given ??
        (value === undefined
          ? undefined
          : atLine(dockerfile, location, () => expand(value, (name) => values.get(name), dockerfile.escape)));
      if (result !== undefined) values.set(key, result);
    }
  }
  return values;
}

interface StageInput {
  readonly index: number;
  readonly before: readonly Stage[];
  /** Aliases of this stage and of those behind it. */
  readonly later: readonly (string | undefined)[];
  readonly globalArgs: ReadonlyMap<string, string>;
  readonly contexts: ReadonlySet<string>;
}

function stageOf(dockerfile: Dockerfile, { from, instructions }: Draft, input: StageInput): Stage {
  const { index, contexts } = input;
  const { alias } = from;
  const common = { index, from, ...(alias === undefined ? {} : { alias }) };
  // A context of the stage's own name stands in its place.
  if (alias !== undefined && contexts.has(alias))
    return {
      ...common,
      base: { type: 'context', name: alias },
      instructions: [],
      sources: new Map(),
      needs: [],
    };
  const lookup = (name: string): string | undefined => input.globalArgs.get(name);
  const image = expandWith(from.image, { lookup, escape: dockerfile.escape }).text;
  if (image === '') throw invalid(`base name (${from.image}) should not be blank`);
  const base = findBase(image, input);
  const platform = platformOf(dockerfile, from, lookup, input.globalArgs);
  const sources = new Map<string, StageSource>();
  for (const instruction of instructions)
    atLine(dockerfile, instruction.location, () => {
      for (const word of sourceWords(instruction)) sources.set(word, sourceOf(word, input));
    });
  const needs = new Set<number>();
  for (const source of [base, ...sources.values()]) if (source.type === 'stage') needs.add(source.index);
  return {
    ...common,
    base,
    ...(platform === undefined ? {} : { platform }),
    instructions,
    sources,
    needs: [...needs].sort((a, b) => a - b),
  };
}

function findBase(image: string, { before, contexts }: StageInput): StageSource {
  const stage = before.findLast(({ alias }) => alias === image);
  if (stage !== undefined) return { type: 'stage', index: stage.index };
  return outsideSource(image, contexts);
}

function outsideSource(word: string, contexts: ReadonlySet<string>): StageSource {
  if (word === 'scratch') return { type: 'scratch' };
  const name = familiar(word);
  if (name !== 'context' && contexts.has(name)) return { type: 'context', name };
  return { type: 'image', reference: word };
}

function platformOf(
  dockerfile: Dockerfile,
  { flags }: From,
  lookup: (name: string) => string | undefined,
  args: ReadonlyMap<string, string>,
): string | undefined {
  if (flags.platform === undefined) return undefined;
  const { text, unmatched } = expandWith(flags.platform, { lookup, escape: dockerfile.escape });
  if (text !== '') return text;
  const near = [...unmatched]
    .map((name) => suggest(name, args.keys(), true))
    .find((name) => name !== undefined);
  const meant = near === undefined ? '' : ` (did you mean ${near}?)`;
  throw invalid(`empty platform value from expression ${flags.platform}${meant}`);
}

/** The words of an instruction that name stages, contexts or images. */
export function sourceWords(instruction: Instruction): string[] {
  if (instruction.name === 'COPY')
    return instruction.flags.from === undefined ? [] : [copySource(instruction.flags.from)];
  if (instruction.name === 'RUN')
    return instruction.flags.mount.flatMap(({ from }) => (from === undefined ? [] : [from]));
  return [];
}

function copySource(word: string): string {
  if (expand(word, () => undefined, '\\') !== word)
    throw invalid(
      'variable expansion is not supported for --from, define a new stage with FROM using ARG from global scope as a workaround',
    );
  return word;
}

/**
 * What `--from=word` means in a stage: one before it, by name (in any case) or number, a named context, or an image.
 * @throws TinyrunError where it is the stage itself or one behind it
 */
export function sourceOf(word: string, input: Omit<StageInput, 'globalArgs'>): StageSource {
  const { index, before, later, contexts } = input;
  const lower = word.toLowerCase();
  const own = later[0] ?? `stage-${index}`;
  if (/^[0-9]+$/.test(word)) {
    const number = Number(word);
    if (number < index) return { type: 'stage', index: number };
    if (number === index) throw invalid(`circular dependency detected on stage: ${own}`);
    if (number >= index + later.length) throw invalid(`invalid stage index ${word}`);
    throw tooEarly(word, own);
  }
  const stage = before.findLast(({ alias }) => alias === lower);
  if (stage !== undefined) return { type: 'stage', index: stage.index };
  if (later[0] === lower) throw invalid(`circular dependency detected on stage: ${own}`);
  if (later.includes(lower)) throw tooEarly(word, own);
  return outsideSource(word, contexts);
}

function tooEarly(word: string, own: string): TinyrunError {
  return invalid(
    `cannot copy from stage ${JSON.stringify(word)}, it needs to be defined before current stage ${JSON.stringify(own)}`,
  );
}

/**
 * What the sources of an ONBUILD trigger mean in the stage that its image is the base of.
 * @param location of the stage's FROM
 */
export function triggerSources(
  dockerfile: Dockerfile,
  all: readonly Stage[],
  trigger: {
    readonly stage: Stage;
    readonly instruction: Instruction;
    readonly namedContexts?: readonly string[];
  },
): ReadonlyMap<string, StageSource> {
  const { stage, instruction, namedContexts } = trigger;
  const location: Location = stage.from.location;
  return atLine(dockerfile, location, () => {
    const input = {
      index: stage.index,
      before: all.slice(0, stage.index),
      later: all.slice(stage.index).map(({ alias }) => alias),
      contexts: contextNames(namedContexts === undefined ? {} : { namedContexts }),
    };
    return new Map(sourceWords(instruction).map((word) => [word, sourceOf(word, input)]));
  });
}

function findTarget(all: readonly Stage[], target: string | undefined): Stage {
  const last = all.at(-1);
  if (last === undefined) throw invalid('dockerfile contains no stages to build');
  if (target === undefined || target === '') return last;
  const found = all.findLast(({ alias }) => alias === target.toLowerCase());
  const byNumber = /^[0-9]{1,6}$/.test(target) ? all[Number(target)] : undefined;
  const stage = found ?? byNumber;
  if (stage !== undefined) return stage;
  const names = all.flatMap(({ alias }) => (alias === undefined ? [] : [alias]));
  throw new TinyrunError(
    'not_found',
    `target stage ${JSON.stringify(target)} could not be found${didYouMean(target, names, true)}`,
  );
}

function contextNames({ namedContexts = [] }: Pick<StagesInput, 'namedContexts'>): ReadonlySet<string> {
  return new Set(namedContexts.map(familiar));
}

/** `docker.io/library/alpine:latest` → `alpine`: how names of contexts are compared. */
export function familiar(name: string): string {
  return name.replace(/^docker\.io\/(library\/)?/, '').replace(/:latest$/, '');
}

/** A proxy's variables: RUN has them without an ARG, and they are neither in the history nor in cache keys. */
export const PROXY_ARGS: readonly string[] = ['HTTP', 'HTTPS', 'FTP', 'NO', 'ALL'].flatMap((name) => [
  `${name}_PROXY`,
  `${name}_PROXY`.toLowerCase(),
]);

/** The predefined ARGs: global, and seen by a stage that declares them. */
export function platformArgs(
  build: Platform,
  target: Platform,
  stage: string | undefined,
): Readonly<Record<string, string>> {
  return {
    BUILDPLATFORM: formatPlatform(build),
    BUILDOS: build.os,
    BUILDOSVERSION: '',
    BUILDARCH: build.architecture,
    BUILDVARIANT: build.variant ?? '',
    TARGETPLATFORM: formatPlatform(target),
    TARGETOS: target.os,
    TARGETOSVERSION: '',
    TARGETARCH: target.architecture,
    TARGETVARIANT: target.variant ?? '',
    TARGETSTAGE: stage ?? 'default',
  };
}

function formatPlatform({ os, architecture, variant }: Platform): string {
  return [os, architecture, ...(variant === undefined || variant === '' ? [] : [variant])].join('/');
}

function invalid(message: string): TinyrunError {
  return new TinyrunError('invalid', message);
}
