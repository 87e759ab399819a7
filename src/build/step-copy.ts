import type { BuiltLayer } from '../image/cached-steps.ts';
import type { Selection } from './context.ts';
import { copyFiles } from './copy-files.ts';
import { type Chmod, type CopyContent, type Owner, planCopy } from './copy-plan.ts';
import type { CopyRecord } from './copy-records.ts';
import type { FileSource } from './copy-source.ts';
import type { Source } from './dockerfile/ast.ts';
import { expandContent } from './dockerfile/expand.ts';
import type { StepHost } from './step-host.ts';
import type { StageVariables } from './step-variables.ts';

/** A COPY, or an ADD of what needs no download and no unpacking, with its variables expanded. */
export interface CopyStep {
  readonly source: FileSource;
  readonly patterns: readonly string[];
  readonly contents: readonly CopyContent[];
  /** Absolute. */
  readonly destination: string;
  readonly exclude: readonly string[];
  /** Undefined: of contexts root, of images as it is. */
  readonly owner?: Owner;
  readonly chmod?: Chmod;
  readonly parents: boolean;
  readonly link: boolean;
}

/** Heredocs as files. */
export function contentsOf(
  sources: readonly Source[],
  variables: StageVariables,
  env: readonly string[],
): CopyContent[] {
  return sources.flatMap((source) => {
    if (source.type !== 'content') return [];
    const text = source.expand ? expandContent(source.data, variables.lookup(env)) : source.data;
    return [{ name: source.name, data: Buffer.from(text) }];
  });
}

export interface CopyHow {
  readonly upper: string;
  /** Milliseconds since 1970. */
  readonly now: number;
  readonly signal: AbortSignal;
}

/** The files of a COPY into a new layer. */
export async function copyInto(
  host: StepHost,
  layers: readonly BuiltLayer[],
  step: CopyStep,
  how: CopyHow,
): Promise<void> {
  const { source, patterns, exclude } = step;
  const selections = patterns.length === 0 ? [] : await source.select(patterns, { exclude });
  await writeSelections(host, layers, step, selections, how);
}

/** The same, where what is to be copied is known. */
export async function writeSelections(
  host: StepHost,
  layers: readonly BuiltLayer[],
  step: CopyStep,
  selections: readonly Selection[],
  how: CopyHow,
): Promise<void> {
  const { source } = step;
  const records = recordsOf(step, selections, how.now);
  const hasFiles = selections.length > 0;
  await copyFiles({
    upper: how.upper,
    // A linked layer depends on nothing below it.
    lower: step.link ? [] : host.directories(layers),
    source: hasFiles ? source.directories : [],
    records,
    signal: how.signal,
  });
}

/** What tinyrun-copy is told. */
export function recordsOf(step: CopyStep, selections: readonly Selection[], now: number): CopyRecord[] {
  const keepsOwner = step.source.keepsOwner && selections.length > 0;
  const owner = step.owner ?? (keepsOwner ? undefined : { uid: 0, gid: 0 });
  return planCopy({
    selections,
    contents: step.contents,
    destination: step.destination,
    parents: step.parents,
    now,
    ...(owner === undefined ? {} : { owner }),
    ...(step.chmod === undefined ? {} : { chmod: step.chmod }),
  });
}
