import { describe, TinyrunError } from '../errors.ts';
import type { Instruction } from './dockerfile/ast.ts';
import { BuildFileError } from './dockerfile/build-file-error.ts';
import { expandWith } from './dockerfile/expand.ts';
import { parseTrigger } from './dockerfile/parse.ts';
import type { Stage, StageSource } from './dockerfile/stage.ts';
import { familiar, platformArgs, triggerSources } from './dockerfile/stages.ts';
import { type Draft, draftOf, emptyDraft } from './image-config.ts';
import type { Solver } from './solve.ts';
import { configStep, type StageMemory, withLabels } from './step-config.ts';
import { runLayerStep } from './step-files.ts';
import { StageVariables } from './step-variables.ts';

type StageInstruction = Exclude<Instruction, { name: 'FROM' }>;

/** An instruction of the stage, with where its sources come from. */
export interface StageStep {
  readonly instruction: StageInstruction;
  readonly sources: ReadonlyMap<string, StageSource>;
}

/** What a step of a stage works with. */
export interface StageWork extends StageMemory {
  readonly solver: Solver;
  readonly stage: Stage;
  /** `[build 2/5] RUN make`. */
  name(instruction: StageInstruction, draft: Draft): string;
}

/** Builds one stage: its base, then each instruction on what the one before came to. */
export async function buildStage(solver: Solver, stage: Stage): Promise<Draft> {
  const { input } = solver;
  const { dockerfile } = input;
  const platform = await solver.platformOf(stage);
  const base = await at(solver, stage.from, () => baseOf(solver, stage, platform));
  const steps: StageStep[] = [
    ...base.triggers.map((text): StageStep => {
      const instruction = triggerOf(solver, stage, text);
      const namedContexts = [...input.namedContexts.keys()];
      return {
        instruction,
        sources: triggerSources(dockerfile, input.stages.all, { stage, instruction, namedContexts }),
      };
    }),
    ...stage.instructions.map((instruction) => ({ instruction, sources: stage.sources })),
  ];
  const args = { ...input.platformArgs, ...platformArgs(input.buildPlatform, input.platform, stage.alias) };
  const work: StageWork = {
    solver,
    stage,
    hasCmd: false,
    variables: new StageVariables(
      { buildArgs: input.buildArgs, globalArgs: input.stages.globalArgs, platformArgs: args },
      dockerfile.escape,
    ),
    name: namesOf(solver, stage, steps),
  };
  let { draft } = base;
  for (const step of steps) {
    input.signal.throwIfAborted();
    draft = await at(solver, step.instruction, () => carryOut(work, draft, step));
  }
  if (stage.index !== input.stages.target.index || Object.keys(input.labels).length === 0) return draft;
  return withLabels(draft, Object.entries(input.labels));
}

async function carryOut(work: StageWork, draft: Draft, step: StageStep): Promise<Draft> {
  const { instruction } = step;
  switch (instruction.name) {
    case 'RUN':
    case 'COPY':
    case 'ADD':
    case 'WORKDIR':
      return await runLayerStep(work, draft, { ...step, instruction });
    default:
      return configStep(draft, instruction, work);
  }
}

interface Base {
  readonly draft: Draft;
  /** ONBUILD of the image. */
  readonly triggers: readonly string[];
}

async function baseOf(solver: Solver, stage: Stage, platform: Draft['platform']): Promise<Base> {
  const { base } = stage;
  if (base.type === 'scratch') return { draft: emptyDraft(platform), triggers: [] };
  if (base.type === 'stage') {
    const { config, ...draft } = await solver.stage(base.index);
    const { OnBuild = [], ...rest } = config;
    return { draft: { ...draft, config: rest }, triggers: OnBuild };
  }
  const image = await solver.baseImage(
    await solver.referenceOf(base),
    platform,
    stepPrefix(solver, stage, 1, undefined),
  );
  return { draft: draftOf(image.config, image.layers), triggers: image.config.config.OnBuild ?? [] };
}

function triggerOf(solver: Solver, stage: Stage, text: string): StageInstruction {
  try {
    return parseTrigger(text, stage.from.location);
  } catch (error) {
    if (!(error instanceof TinyrunError)) throw error;
    throw new BuildFileError(solver.input.dockerfile, stage.from.location, describe(error), error);
  }
}

const COUNTED: ReadonlySet<string> = new Set(['RUN', 'COPY', 'ADD', 'WORKDIR']);

/** BuildKit numbers what makes layers; the base is the first. */
function namesOf(solver: Solver, stage: Stage, steps: readonly StageStep[]): StageWork['name'] {
  const counted = steps.map(({ instruction }) => instruction).filter(({ name }) => COUNTED.has(name));
  return (instruction, draft) => {
    const number = counted.indexOf(instruction) + 2;
    return `${stepPrefix(solver, stage, number, counted.length + 1)}${shown(solver, instruction, draft)}`;
  };
}

function stepPrefix(solver: Solver, stage: Stage, number: number, total: number | undefined): string {
  const { all } = solver.input.stages;
  const count = total ?? stage.instructions.filter(({ name }) => COUNTED.has(name)).length + 1;
  const name = stage.alias ?? `stage-${stage.index}`;
  const platform = solver.isMany ? `${solver.platformText} ` : '';
  const where = all.length > 1 || stage.alias !== undefined ? `${name} ` : '';
  return `[${platform}${where}${number}/${count}] `;
}

/** The instruction with the values of its variables, as far as they are known. */
function shown(solver: Solver, { original }: StageInstruction, draft: Draft): string {
  const [first = '', ...more] = original.split('\n');
  const line = more.length === 0 ? first : `${first}...`;
  if (!line.includes('$') || /^(RUN|run)\b/.test(line)) return line;
  const env = draft.config.Env ?? [];
  const lookup = (name: string): string | undefined =>
    env.findLast((entry) => entry.startsWith(`${name}=`))?.slice(name.length + 1);
  const token = solver.input.dockerfile.escape;
  try {
    return expandWith(line, { lookup, escape: token, rawQuotes: true, rawEscapes: true, keepUnset: true })
      .text;
  } catch {
    return line;
  }
}

/** An error gets the line of the instruction that it is about. */
async function at<T>(solver: Solver, instruction: Instruction, fn: () => Promise<T>): Promise<T> {
  try {
    return await fn();
  } catch (error) {
    if (error instanceof BuildFileError || !(error instanceof TinyrunError)) throw error;
    throw new BuildFileError(solver.input.dockerfile, instruction.location, describe(error), error);
  }
}

/** The key under which a base or source is among `--build-context`. */
export function contextName(name: string): string {
  return familiar(name);
}
