import { TinyrunError } from '../../errors.ts';
import type { IgnoreMatcher } from '../ignore.ts';
import type { Arg, BuildWarning, Dockerfile, Location } from './ast.ts';
import { isChecked, type LintConfig, parseLintConfig, withComments } from './lint-config.ts';
import { lintFrom, lintSyntax } from './lint-file.ts';
import { LINT_RULES, type LintRule, type LintRuleName } from './lint-rules.ts';
import { lintStage } from './lint-stage.ts';
import type { Stages, StagesInput } from './stage.ts';
import { globalArgsOf } from './stages.ts';

export interface LintInput {
  readonly stages: Stages;
  readonly args: Pick<StagesInput, 'buildArgs' | 'platformArgs'>;
  /** All stages (`--check` without a target), else those that the target needs. */
  readonly everyStage: boolean;
  /** What an image brings; undefined where that is not known: its stages are not checked for undefined variables. */
  readonly image?: (reference: string) => ImageFacts | undefined;
  /** Whether a text is the name of an image. */
  readonly isReference: (text: string) => boolean;
  readonly ignore?: IgnoreMatcher;
}

export interface ImageFacts {
  readonly env: readonly string[];
  readonly hasShell: boolean;
}

/** Where checks report. */
export type Reporter = <Name extends LintRuleName>(
  name: Name,
  place: { readonly location: Location; readonly comments: readonly string[] },
  ...args: Parameters<(typeof LINT_RULES)[Name]['message']>
) => void;

/**
 * BuildKit's checks. Every build makes them and goes on; `--check` makes nothing else.
 * https://docs.docker.com/reference/build-checks/
 */
export function lint(dockerfile: Dockerfile, input: LintInput): BuildWarning[] {
  const config = configOf(dockerfile, input.args.buildArgs);
  const warnings = dockerfile.warnings.filter(({ rule }) => isChecked(config, rule, false));
  const report = reporter(config, warnings);
  lintSyntax(dockerfile, report);
  const global = globalArgs(dockerfile);
  lintFrom(dockerfile, { ...input, global, defaults: defaultsOf(dockerfile, global, input.args) }, report);
  const { all, needed } = input.stages;
  const known = new Map<number, ReturnType<typeof lintStage>>();
  const wanted = new Set((input.everyStage ? all : needed).map(({ index }) => index));
  for (const stage of all)
    if (wanted.has(stage.index))
      known.set(stage.index, lintStage(dockerfile, stage, { ...input, known }, report));
  return warnings;
}

/** What `error=true` makes of the findings. */
export function lintError(
  dockerfile: Dockerfile,
  warnings: readonly BuildWarning[],
  buildArgs: LintInput['args']['buildArgs'] = {},
): TinyrunError | undefined {
  if (warnings.length === 0 || !configOf(dockerfile, buildArgs).error) return undefined;
  const rules = [...new Set(warnings.map(({ rule }) => rule))];
  return new TinyrunError('invalid', `lint violation found for rules: ${rules.join(', ')}`);
}

/** `--build-arg BUILDKIT_DOCKERFILE_CHECK=…` stands before what the file says. */
function configOf({ directives }: Dockerfile, buildArgs: LintInput['args']['buildArgs']): LintConfig {
  return parseLintConfig(buildArgs.BUILDKIT_DOCKERFILE_CHECK ?? directives.check);
}

function reporter(config: LintConfig, warnings: BuildWarning[]): Reporter {
  return (name, { location, comments }, ...args) => {
    // Each rule has its own arguments, which the type of Reporter ties to the name.
    const rule = LINT_RULES[name] as unknown as LintRule<readonly string[]>;
    if (!isChecked(withComments(config, comments), name, rule.experimental === true)) return;
    const { description, url } = rule;
    const message = rule.message(...(args as readonly string[]));
    warnings.push({ rule: name, message, description, ...(url === undefined ? {} : { url }), location });
  };
}

function globalArgs({ instructions }: Dockerfile): Arg[] {
  const first = instructions.findIndex(({ name }) => name === 'FROM');
  return instructions.slice(0, Math.max(first, 0)).filter((each): each is Arg => each.name === 'ARG');
}

/** The global ARGs as they are without any --build-arg; undefined where they cannot be expanded. */
function defaultsOf(
  dockerfile: Dockerfile,
  global: readonly Arg[],
  { platformArgs }: LintInput['args'],
): ReadonlyMap<string, string> | undefined {
  try {
    return globalArgsOf(dockerfile, global, { platformArgs, buildArgs: {} });
  } catch (error) {
    if (error instanceof TinyrunError) return undefined;
    throw error;
  }
}
