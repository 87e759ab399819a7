import { Command as Commander } from 'commander';
import type { Command, OptionSpec } from './command.ts';
import { COMMANDS, GROUPS } from './commands.ts';
import type { Context } from './context.ts';
import { GLOBAL_OPTIONS } from './program.ts';

/** Prints a command's help, laid out by commander (which is loaded for this and nothing else: it costs 10 ms). */
export function printHelp(context: Context, command: Command): number {
  const commander = new Commander(`tinyrun ${command.name}`)
    .usage(command.usage)
    .description(command.summary)
    .helpOption('--help', 'Show help');
  for (const option of command.options) {
    if (option.hidden !== true) commander.option(flagsOf(option), helpOf(option));
  }
  context.stdout.write(layOut(commander, context));
  return 0;
}

/** The help of the program, or of a group such as `container`. */
export function printProgramHelp(context: Context, group: string | undefined): number {
  const commander = new Commander(group === undefined ? 'tinyrun' : `tinyrun ${group}`)
    .usage(group === undefined ? '[OPTIONS] COMMAND' : 'COMMAND')
    .description(group === undefined ? 'Run containers without a daemon' : groupSummary(group))
    .helpOption('--help', 'Show help')
    .helpCommand(false);
  if (group === undefined) {
    for (const option of GLOBAL_OPTIONS) {
      if (option.long !== 'help') commander.option(flagsOf(option), helpOf(option));
    }
  }
  for (const [name, { summary }] of Object.entries(COMMANDS)) {
    const shown = shownIn(group, name);
    if (shown !== undefined && summary !== undefined) commander.command(shown).summary(summary);
  }
  if (group === undefined) {
    for (const name of GROUPS) commander.command(name).summary(groupSummary(name));
  }
  const more =
    group === undefined ? "\nRun 'tinyrun COMMAND --help' for more information on a command.\n" : '';
  context.stdout.write(layOut(commander, context) + more);
  return 0;
}

/** How a command is called in the list of the program, or of a group; undefined where it is not in it. */
function shownIn(group: string | undefined, name: string): string | undefined {
  if (group === undefined) return name.includes(' ') ? undefined : name;
  return name.startsWith(`${group} `) ? name.slice(group.length + 1) : undefined;
}

function groupSummary(group: string): string {
  if (group === 'system') return 'Manage this store';
  if (group === 'generate') return 'Generate units for systemd';
  return group === 'registry' ? 'Be a registry' : `Manage ${group}s`;
}

/** The known command most like a wrong one, if any is like it. */
export function suggestion(name: string): string | undefined {
  let best: { name: string; distance: number } | undefined;
  for (const candidate of [...Object.keys(COMMANDS), ...GROUPS]) {
    const distance = editDistance(name, candidate);
    if (distance <= Math.max(1, Math.floor(candidate.length / 3)) && distance < (best?.distance ?? 3)) {
      best = { name: candidate, distance };
    }
  }
  return best?.name;
}

function layOut(commander: Commander, context: Context): string {
  const columns = context.stdout.columns ?? 100;
  commander.configureHelp({
    helpWidth: Math.max(60, columns),
    commandUsage: (command) => `${command.name()} ${command.usage()}`,
  });
  return commander.helpInformation();
}

function flagsOf(option: OptionSpec): string {
  const placeholder = option.value ?? option.type;
  const long = option.type === 'bool' ? `--${option.long}` : `--${option.long} <${placeholder}>`;
  return option.short === undefined ? long : `-${option.short}, ${long}`;
}

function helpOf(option: OptionSpec): string {
  return option.default === undefined
    ? option.help
    : `${option.help} (default ${JSON.stringify(option.default)})`;
}

/** Levenshtein's, with neighbours swapped counting one. */
function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const cost = a[i - 1] === b[j - 1] ? 0 : 1;
      let least = Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, (row[j - 1] ?? 0) + cost);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        least = Math.min(least, (before[j - 2] ?? 0) + 1);
      }
      next.push(least);
    }
    before = row;
    row = next;
  }
  return row.at(-1) ?? 0;
}
