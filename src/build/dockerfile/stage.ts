import type { From, Instruction } from './ast.ts';

export interface Platform {
  readonly os: string;
  readonly architecture: string;
  readonly variant?: string;
}

export interface StagesInput {
  /** Name or index; default the last. */
  readonly target?: string;
  /** `--build-arg`, already resolved against the caller's environment. */
  readonly buildArgs: Readonly<Record<string, string>>;
  /** BUILDPLATFORM, BUILDOS, …, TARGETPLATFORM, …: see platformArgs in stages.ts. */
  readonly platformArgs: Readonly<Record<string, string>>;
  /** Names of `--build-context`: where one equals a base or a `--from`, it stands before a stage and an image. */
  readonly namedContexts?: readonly string[];
}

/** Where something comes from. */
export type StageSource =
  | { readonly type: 'stage'; readonly index: number }
  | { readonly type: 'context'; readonly name: string }
  | { readonly type: 'image'; readonly reference: string }
  | { readonly type: 'scratch' };

export interface Stage {
  readonly index: number;
  /** Lower case. */
  readonly alias?: string;
  readonly from: From;
  readonly base: StageSource;
  /** Of `--platform`, expanded. */
  readonly platform?: string;
  /** Without the FROM. */
  readonly instructions: readonly Exclude<Instruction, From>[];
  /** Sources of COPY --from and RUN --mount from=, by the word as it was written. Not those of ONBUILD triggers. */
  readonly sources: ReadonlyMap<string, StageSource>;
  /** Indexes of the stages that must be built before or with this one (base and sources), ascending. */
  readonly needs: readonly number[];
}

export interface Stages {
  /** All of the file, in its order; those that the target does not reach are in it, too. */
  readonly all: readonly Stage[];
  readonly target: Stage;
  /** The target and everything it needs, in the file's order. */
  readonly needed: readonly Stage[];
  /** Values of the ARGs before the first FROM; a stage sees one where it declares `ARG name` without a value. */
  readonly globalArgs: ReadonlyMap<string, string>;
}
