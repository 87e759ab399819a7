import { writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { ContainerRecord, Engine } from '../../engine/index.ts';
import { DEFAULT_ROOTS } from '../../engine/roots.ts';
import { TinyrunError } from '../../errors.ts';
import type { Command } from '../command.ts';
import { withoutFlags } from '../command-line.ts';
import { oneOf } from '../container-flags.ts';
import { parseEnv } from '../env-file.ts';
import type { Parsed } from '../parse.ts';
import { GLOBAL_OPTIONS } from '../program.ts';
import { RESTARTS, systemdUnit } from '../systemd-unit.ts';
import { run } from './run.ts';

const STOP_TIMEOUT_S = 10;

export const generateSystemd: Command = {
  name: 'generate systemd',
  summary: 'Print a systemd unit that runs a container',
  usage: '[OPTIONS] CONTAINER',
  options: [
    { long: 'after', type: 'list', value: 'unit', help: 'Order the unit after others' },
    {
      long: 'container-prefix',
      type: 'string',
      default: 'container',
      help: 'What the unit’s name begins with',
    },
    { long: 'env', short: 'e', type: 'list', help: 'Set environment variables of the unit' },
    { long: 'files', short: 'f', type: 'bool', help: 'Write a file here, and print its path' },
    { long: 'name', short: 'n', type: 'bool', help: 'Use the container’s name in place of its id' },
    { long: 'new', type: 'bool', help: 'Make a new container at every start, and remove it at every stop' },
    { long: 'no-header', type: 'bool', help: 'Leave out the comment at the beginning' },
    { long: 'requires', type: 'list', value: 'unit', help: 'Require other units' },
    {
      long: 'restart-policy',
      type: 'string',
      default: 'on-failure',
      help: `When systemd starts it again (${RESTARTS.join('|')})`,
    },
    { long: 'restart-sec', type: 'int', help: 'Seconds until systemd starts it again' },
    { long: 'separator', type: 'string', default: '-', help: 'What stands between prefix and name' },
    { long: 'start-timeout', type: 'int', help: 'Seconds that a start may take' },
    { long: 'stop-timeout', type: 'int', help: 'Seconds until a stop kills the container' },
    { long: 'time', short: 't', type: 'int', help: 'As --stop-timeout', hidden: true },
    { long: 'wants', type: 'list', value: 'unit', help: 'Start other units, too' },
  ],
  operands: { min: 1, max: 1 },
  async run({ context, parsed, engine: open }) {
    const restart = parsed.one('restart-policy', oneOf(RESTARTS, 'invalid restart policy')) ?? 'on-failure';
    const environment = parsed.each('env', (text) => parseEnv(text, context.env));
    const engine = await open();
    const { record } = await engine.find(parsed.operands[0] ?? '');
    const isNew = parsed.bool('new');
    const container = isNew || parsed.bool('name') ? record.name : record.id;
    const prefix = [parsed.string('container-prefix') ?? 'container', parsed.string('separator') ?? '-'];
    const unit = `${prefix.join('')}${parsed.bool('name') ? record.name : record.id}.service`;
    const text = systemdUnit({
      unit,
      program: context.program,
      environment: { ...rootsOf(engine), ...pairsOf(environment) },
      container,
      ...(isNew ? runAnew(record) : { start: startAgain(record, container) }),
      restart,
      ...numberOf(parsed, 'restart-sec', 'restartSec'),
      ...numberOf(parsed, 'start-timeout', 'startTimeout'),
      stopTimeout:
        parsed.number('stop-timeout') ??
        parsed.number('time') ??
        record.options.stopTimeout ??
        STOP_TIMEOUT_S,
      wants: parsed.list('wants'),
      after: parsed.list('after'),
      requires: parsed.list('requires'),
      header: !parsed.bool('no-header'),
    });
    if (!parsed.bool('files')) {
      context.stdout.write(text);
      return 0;
    }
    const path = resolve(context.cwd, unit);
    writeFileSync(path, text);
    context.stdout.write(`${path}\n`);
    return 0;
  },
};

/** In the foreground, but without input: a service has none. */
function startAgain({ name, options }: ContainerRecord, container: string): string[] {
  if (options.remove) {
    throw new TinyrunError(
      'conflict',
      `Cannot start container "${name}" again: --rm removes it when it stops`,
      {
        hint: 'Generate a unit that makes a new one at every start: generate systemd --new',
      },
    );
  }
  return ['start', '--attach', container];
}

/** What a service does otherwise: name and removal are its own business, and it has neither a terminal nor input. */
const OWN: ReadonlySet<string> = new Set([
  ...['attach', 'cidfile', 'detach', 'detach-keys', 'interactive', 'name', 'replace', 'restart', 'rm', 'tty'],
]);

function runAnew({ name, options }: ContainerRecord): {
  start: string[];
  cleanUp: string[];
  workingDirectory?: string;
} {
  const typed = options.createCommand;
  if (typed === undefined) {
    throw new TinyrunError(
      'unsupported',
      `Cannot tell how container "${name}" was made: not by a command line`,
      {
        hint: 'Generate a unit without --new, which starts the container that is there',
      },
    );
  }
  const global = typed.words.findIndex((word) => word === 'run' || word === 'create');
  const words = withoutFlags(typed.words.slice(global + 1), run.options, OWN);
  const before = withoutFlags(
    typed.words.slice(0, Math.max(0, global)).filter((word) => word !== 'container'),
    GLOBAL_OPTIONS,
    new Set(['root', 'runroot']),
  );
  return {
    start: [...before, 'run', '--name', name, '--replace', '--rm', ...words],
    cleanUp: ['rm', '--force', name],
    workingDirectory: typed.directory,
  };
}

/** The environment that leads a command to this store. */
function rootsOf({ root, runRoot }: Engine): Record<string, string> {
  return {
    ...(root === DEFAULT_ROOTS.root ? {} : { TINYRUN_ROOT: root }),
    ...(runRoot === DEFAULT_ROOTS.runRoot ? {} : { TINYRUN_RUNROOT: runRoot }),
  };
}

function pairsOf(texts: readonly (string | undefined)[]): Record<string, string> {
  return Object.fromEntries(
    texts.flatMap((text) =>
      text === undefined ? [] : [[text.split('=')[0] ?? '', text.slice(text.indexOf('=') + 1)]],
    ),
  );
}

function numberOf<K extends string>(parsed: Parsed, long: string, key: K): { [P in K]?: number } {
  const value = parsed.number(long);
  return value === undefined ? {} : ({ [key]: value } as { [P in K]: number });
}
