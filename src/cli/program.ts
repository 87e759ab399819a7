import { resolve } from 'node:path';
import type { Engine } from '../engine/index.ts';
import type { Call, Command, OptionSpec } from './command.ts';
import type { Context } from './context.ts';
import { errorLines } from './error-lines.ts';
import { FlagError, type Parsed, parseArguments } from './parse.ts';
import { openTimer } from './timing.ts';

/** Exit code of wrong flags, whatever the command, as Docker's. */
const FLAG_ERROR = 125;

export const GLOBAL_OPTIONS: readonly OptionSpec[] = [
  { long: 'root', type: 'string', value: 'dir', help: 'Where images and containers are kept' },
  { long: 'runroot', type: 'string', value: 'dir', help: 'Where the state of running containers is kept' },
  { long: 'debug', short: 'D', type: 'bool', help: 'Show the stack of an error' },
  { long: 'version', short: 'v', type: 'bool', help: 'Print version information and quit' },
  { long: 'help', short: 'h', type: 'bool', help: 'Show help' },
];

/** Runs one command line. @returns its exit code; never throws */
export async function runProgram(context: Context): Promise<number> {
  let debug = false;
  try {
    const global = parseArguments(context.argv, { options: GLOBAL_OPTIONS, interspersed: false });
    debug = global.bool('debug');
    if (global.bool('version')) return await runCommand(context, global, ['version', '--short']);
    if (global.bool('help') || global.operands.length === 0) return await showHelp(context, global.operands);
    return await runCommand(context, global, global.operands);
  } catch (error) {
    if (error instanceof FlagError) return report(context, { error, help: 'tinyrun', code: FLAG_ERROR });
    return report(context, { error, code: 1, debug });
  }
}

async function runCommand(context: Context, global: Parsed, words: readonly string[]): Promise<number> {
  const found = await findCommand(words);
  if (found === undefined) return unknownCommand(context, words);
  const { command } = found;
  const help = `tinyrun ${command.name}`;
  let parsed: Parsed;
  try {
    parsed = parseArguments(found.rest, command);
  } catch (error) {
    if (!(error instanceof FlagError)) throw error;
    return report(context, { error, help, usage: command.usage, code: FLAG_ERROR });
  }
  if (parsed.bool('help')) return (await import('./help.ts')).printHelp(context, command);
  const wrong = operandError(command, parsed.operands.length);
  if (wrong !== undefined) {
    return report(context, { error: new FlagError(wrong), help, usage: command.usage, code: 1 });
  }
  const call = callOf(context, global, parsed);
  try {
    return await command.run(call);
  } catch (error) {
    if (error instanceof FlagError) return report(context, { error, help, code: FLAG_ERROR });
    const code = exitCodeOf(error) ?? command.errorExit ?? 1;
    const withHelp = command.errorExit === undefined ? {} : { help };
    return report(context, { error, ...withHelp, code, debug: global.bool('debug') });
  }
}

function callOf(context: Context, global: Parsed, parsed: Parsed): Call {
  let engine: Promise<Engine> | undefined;
  const open = async (): Promise<Engine> => {
    const { openEngine } = await import('../engine/index.ts');
    const root = global.string('root') ?? context.env.TINYRUN_ROOT;
    const runRoot = global.string('runroot') ?? context.env.TINYRUN_RUNROOT;
    const native = context.env.TINYRUN_NATIVE;
    return openEngine({
      ...(root ? { root: resolve(context.cwd, root) } : {}),
      ...(runRoot ? { runRoot: resolve(context.cwd, runRoot) } : {}),
      env: context.env,
      ...(native ? { nativeDirectory: resolve(context.cwd, native) } : {}),
      ...openTimer(context),
    });
  };
  return {
    context,
    parsed,
    engine: () => {
      engine ??= open();
      return engine;
    },
  };
}

/**
 * The command of the longest name of the table that the words begin with: `container ls` before `container`. `run` is found without the
 * table of all others, which takes it half a millisecond.
 */
async function findCommand(
  words: readonly string[],
): Promise<{ command: Command; rest: readonly string[] } | undefined> {
  if (words[0] === 'run') return { command: (await import('./commands/run.ts')).run, rest: words.slice(1) };
  const { COMMANDS, loadCommand } = await import('./commands.ts');
  for (let length = Math.min(2, words.length); length > 0; length -= 1) {
    const name = words.slice(0, length).join(' ');
    if (Object.hasOwn(COMMANDS, name)) return { command: await loadCommand(name), rest: words.slice(length) };
  }
  return undefined;
}

async function unknownCommand(context: Context, words: readonly string[]): Promise<number> {
  const [first = '', second] = words;
  if (first === 'help') return showHelp(context, words.slice(1));
  const { GROUPS } = await import('./commands.ts');
  if (GROUPS.includes(first) && (second === undefined || second.startsWith('-'))) {
    return showHelp(context, [first]);
  }
  const { suggestion } = await import('./help.ts');
  const name = GROUPS.includes(first) ? `${first} ${second}` : first;
  const similar = suggestion(name);
  const error = new FlagError(
    `unknown command: tinyrun ${name}${similar === undefined ? '' : `\n\nDid you mean "tinyrun ${similar}"?`}`,
  );
  return report(context, { error, help: GROUPS.includes(first) ? `tinyrun ${first}` : 'tinyrun', code: 1 });
}

async function showHelp(context: Context, words: readonly string[]): Promise<number> {
  const { printHelp, printProgramHelp } = await import('./help.ts');
  const found = await findCommand(words);
  if (found !== undefined) return printHelp(context, found.command);
  const { GROUPS } = await import('./commands.ts');
  if (words.length > 0 && !GROUPS.includes(words[0] ?? '')) return unknownCommand(context, words);
  return printProgramHelp(context, words[0]);
}

function operandError(command: Command, count: number): string | undefined {
  const { min, max } = command.operands;
  const plural = (number: number): string => `${number} argument${number === 1 ? '' : 's'}`;
  if (min === max && count !== min) {
    return min === 0
      ? `'tinyrun ${command.name}' accepts no arguments`
      : `'tinyrun ${command.name}' requires ${plural(min)}`;
  }
  if (count < min) return `'tinyrun ${command.name}' requires at least ${plural(min)}`;
  if (max !== undefined && count > max) return `'tinyrun ${command.name}' requires at most ${plural(max)}`;
  return undefined;
}

/** What an error itself says of the exit code: 126 and 127 of a program that could not be started. */
function exitCodeOf(error: unknown): number | undefined {
  if (!(error instanceof Error) || !('exitCode' in error)) return undefined;
  return typeof error.exitCode === 'number' ? error.exitCode : undefined;
}

interface Report {
  readonly error: unknown;
  readonly code: number;
  /** The command whose `--help` is named. */
  readonly help?: string;
  /** Its usage, for errors of the command line. */
  readonly usage?: string;
  readonly debug?: boolean;
}

function report(context: Context, { error, code, help, usage, debug }: Report): number {
  const lines: string[] = [];
  lines.push(
    ...(error instanceof FlagError && usage !== undefined ? [error.message] : errorLines(error, context)),
  );
  if (debug === true && error instanceof Error) lines.push(stackOf(error));
  if (usage !== undefined) lines.push('', `Usage:  ${help} ${usage}`);
  if (help !== undefined) lines.push('', `Run '${help} --help' for more information`);
  context.stderr.write(`${lines.join('\n')}\n`);
  return code;
}

function stackOf(error: Error): string {
  const cause = error.cause instanceof Error ? `\ncaused by ${stackOf(error.cause)}` : '';
  return `${error.stack ?? error.message}${cause}`;
}
