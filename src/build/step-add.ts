import { TinyrunError } from '../errors.ts';
import type { Add } from './dockerfile/ast.ts';
import type { Draft } from './image-config.ts';
import type { StageWork } from './stage.ts';
import { type CopyStep, copyInto } from './step-copy.ts';

/** What ADD does beyond COPY. */
export interface Added {
  /** Patterns of the context that decide the cache key. */
  readonly patterns: readonly string[];
  /** The rest that decides it. */
  readonly key: unknown;
  fill(draft: Draft, how: AddHow): Promise<void>;
}

export interface AddHow {
  readonly upper: string;
  readonly scratch: string;
  readonly now: number;
  readonly signal: AbortSignal;
}

/** @returns undefined where nothing is to be downloaded or unpacked: it is a COPY then */
export async function addedSources(
  work: StageWork,
  instruction: Add,
  copy: CopyStep,
  paths: readonly string[],
): Promise<Added | undefined> {
  if (paths.some((path) => /^(https?|git|ssh):\/\//.test(path) || path.startsWith('git@'))) {
    throw new TinyrunError('unsupported', 'ADD of URLs is not supported yet');
  }
  void instruction;
  void work;
  void copyInto;
  void copy;
  return undefined;
}
