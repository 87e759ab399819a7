import { TinyrunError } from '../../errors.ts';
import type { Arg, Dockerfile, From, Instruction } from './ast.ts';
import { type Expansion, expandWith } from './expand.ts';
import type { LintInput, Reporter } from './lint.ts';
import { suggest } from './suggest.ts';

const RESERVED: ReadonlySet<string> = new Set(['context', 'scratch']);

/** What the instructions say by themselves. */
export function lintSyntax({ instructions }: Dockerfile, report: Reporter): void {
  for (const instruction of instructions) {
    if (instruction.name === 'MAINTAINER') report('MaintainerDeprecated', instruction);
    if (instruction.name === 'FROM') lintAlias(instruction, report);
    if (instruction.name === 'ARG')
      lintDescription(
        instruction,
        instruction.args.map(({ key }) => key),
        report,
      );
  }
  lintStageNames(instructions, report);
  lintCasing(instructions, report);
}

function lintAlias(from: From, report: Reporter): void {
  const { written, alias, aliasWritten } = from;
  if (aliasWritten === undefined || alias === undefined) return;
  if (aliasWritten.alias !== alias) report('StageNameCasing', from, aliasWritten.alias);
  const { as } = aliasWritten;
  const [lower, upper] = [written === written.toLowerCase(), written === written.toUpperCase()];
  if ((lower && as !== as.toLowerCase()) || (upper && as !== as.toUpperCase()))
    report('FromAsCasing', from, written, as);
  lintDescription(from, [alias], report);
}

/** `# name what it is`, directly above. */
function lintDescription(instruction: From | Arg, names: readonly string[], report: Reporter): void {
  const first = instruction.comments.at(-1)?.split(' ')[0];
  if (first === undefined || names.includes(first)) return;
  const example = names.length > 1 ? '<arg_key>' : (names[0] ?? '');
  report('InvalidDefinitionDescription', instruction, instruction.name, example);
}

function lintStageNames(instructions: readonly Instruction[], report: Reporter): void {
  const seen = new Set<string>();
  for (const from of instructions) {
    if (from.name !== 'FROM' || from.alias === undefined) continue;
    if (RESERVED.has(from.alias)) report('ReservedStageName', from, from.alias);
    if (seen.has(from.alias)) report('DuplicateStageName', from, from.alias);
    seen.add(from.alias);
  }
}

/** All in the case of most; global ARGs do not count. */
function lintCasing(instructions: readonly Instruction[], report: Reporter): void {
  const first = instructions.findIndex(({ name }) => name === 'FROM');
  const counted = instructions.slice(Math.max(first, 0));
  const lower = counted.filter(({ written }) => written === written.toLowerCase()).length;
  const upper = counted.filter(({ written }) => written === written.toUpperCase()).length;
  const casing = lower > upper ? 'lowercase' : 'uppercase';
  for (const instruction of counted) {
    const { written } = instruction;
    const right = casing === 'lowercase' ? written.toLowerCase() : written.toUpperCase();
    if (written !== right) report('ConsistentInstructionCasing', instruction, written, casing);
  }
}

interface FromInput extends LintInput {
  readonly global: readonly Arg[];
  readonly defaults: ReadonlyMap<string, string> | undefined;
}

/** What FROM lines say of ARGs and platforms. */
export function lintFrom(dockerfile: Dockerfile, input: FromInput, report: Reporter): void {
  const froms = dockerfile.instructions.filter((each): each is From => each.name === 'FROM');
  const { defaults, stages } = input;
  for (const from of defaults === undefined ? [] : froms) {
    const base = expansion(dockerfile, from.image, defaults ?? new Map());
    if (base !== undefined && !input.isReference(base.text))
      report('InvalidDefaultArgInFrom', from, from.image);
  }
  const known = new Set([
    ...stages.globalArgs.keys(),
    ...input.global.flatMap(({ args }) => args.map(({ key }) => key)),
  ]);
  for (const from of froms) {
    reportUndeclared(from, expansion(dockerfile, from.image, stages.globalArgs), known, report);
    const { platform } = from.flags;
    if (platform === undefined) continue;
    const expanded = expansion(dockerfile, platform, stages.globalArgs);
    reportUndeclared(from, expanded, known, report);
    if (expanded !== undefined)
      lintPlatform(from, platform, expanded, { target: stages.globalArgs.get('TARGETPLATFORM') }, report);
  }
}

function expansion(
  dockerfile: Dockerfile,
  text: string,
  args: ReadonlyMap<string, string>,
): Expansion | undefined {
  try {
    return expandWith(text, { lookup: (name) => args.get(name), escape: dockerfile.escape });
  } catch (error) {
    if (error instanceof TinyrunError) return undefined;
    throw error;
  }
}

function reportUndeclared(
  from: From,
  expanded: Expansion | undefined,
  known: ReadonlySet<string>,
  report: Reporter,
): void {
  for (const name of expanded?.unmatched ?? [])
    if (!known.has(name)) report('UndefinedArgInFrom', from, name, suggest(name, known, true) ?? '');
}

function lintPlatform(
  from: From,
  written: string,
  { text, matched, unmatched }: Expansion,
  { target }: { readonly target: string | undefined },
  report: Reporter,
): void {
  if (matched.size === 1 && unmatched.size === 0 && matched.has('TARGETPLATFORM') && text === target)
    report('RedundantTargetPlatform', from, written);
  if (matched.size > 0 || unmatched.size > 0) return;
  const [os = '', architecture = ''] = text.split('/');
  const alias = from.alias ?? '';
  // A stage that is called after its platform means it.
  if (alias.includes(os) || (architecture !== '' && alias.includes(architecture))) return;
  report('FromPlatformFlagConstDisallowed', from, text);
}
