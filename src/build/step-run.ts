import { TinyrunError } from '../errors.ts';
import type { Run } from './dockerfile/ast.ts';
import { chomp } from './dockerfile/heredoc.ts';
import { DEFAULT_SHELL, type Draft } from './image-config.ts';
import type { StageVariables } from './step-variables.ts';

/** A RUN as it will be executed. */
export interface RunCommand {
  readonly args: readonly string[];
  /** ARGs, `KEY=value`. */
  readonly buildArgs: readonly string[];
  /** Of the history. */
  readonly createdBy: string;
}

/** The words that a RUN executes, and how the history shows them. */
export function runCommand(draft: Draft, run: Run, variables: StageVariables): RunCommand {
  const args = argumentsOf(draft, run);
  const buildArgs = variables.buildArgs(draft.config.Env ?? []);
  const shownArgs = buildArgs.length === 0 ? '' : `|${buildArgs.length} ${buildArgs.join(' ')} `;
  return { args, buildArgs, createdBy: `RUN ${shownArgs}${args.join(' ')} # buildkit` };
}

function argumentsOf({ config }: Draft, { command, heredocs }: Run): readonly string[] {
  if (command.form === 'exec') return command.words;
  const shell = config.Shell ?? DEFAULT_SHELL;
  const [only, ...more] = heredocs;
  // `RUN <<EOF` alone: the content is the script.
  if (only !== undefined && more.length === 0 && /^<<-?\s*(["']?)[^"'\s]+\1$/.test(command.text.trim())) {
    const script = only.chomp ? chomp(only.content) : only.content;
    if (script.startsWith('#!')) return interpreted(script);
    return [...shell, script];
  }
  const bodies = heredocs.map(({ content, name }) => `\n${content}${name}`).join('');
  return [...shell, `${command.text}${bodies}`];
}

/**
 * A script with an interpreter of its own. It is handed over in a variable of a small shell: so there is no file of it that the
 * layer could keep.
 */
function interpreted(script: string): readonly string[] {
  const [line = '', ...rest] = script.split('\n');
  const [, interpreter = '', argument = ''] = /^#!\s*(\S+)\s*(.*?)\s*$/.exec(line) ?? [];
  if (interpreter === '')
    throw new TinyrunError('invalid', 'the heredoc begins with #! and names no interpreter');
  const name = interpreter.split('/').at(-1) ?? '';
  const words = [interpreter, ...(argument === '' ? [] : [argument])];
  const takesOption = /^(a|ba|da|k|z)?sh$|^(python|perl|ruby|node)[0-9.]*$/.test(name) || name === 'env';
  if (!takesOption) {
    throw new TinyrunError('unsupported', `the interpreter "${interpreter}" of a heredoc is not known`, {
      hint: 'Write the script to a file with COPY <<EOF and RUN it',
    });
  }
  const program = name === 'env' ? (argument.split(/\s+/).at(-1) ?? '') : name;
  const option = /^(perl|ruby|node)/.test(program) ? '-e' : '-c';
  const split = name === 'env' ? [interpreter, ...argument.split(/\s+/)] : words;
  return [...split, option, rest.join('\n')];
}
