import { TinyrunError } from '../../errors.ts';
import { parseDuration } from '../../oci/go-values.ts';
import type { Healthcheck } from './ast.ts';
import { parseFlags } from './flags.ts';
import { type CommandParts, parseCommandLine } from './words.ts';

export function parseHealthcheck(input: CommandParts): Pick<Healthcheck, 'command' | 'flags'> {
  const [, type = '', rest = ''] = /^(\S*)\s*([\s\S]*)$/.exec(input.args) ?? [];
  if (type === '') throw invalid('HEALTHCHECK requires at least one argument');
  if (type.toUpperCase() === 'NONE') {
    if (rest !== '') throw invalid('HEALTHCHECK NONE takes no arguments');
    return { flags: {} };
  }
  const flags = parseFlags(input.flags, {
    interval: 'string',
    timeout: 'string',
    'start-period': 'string',
    'start-interval': 'string',
    retries: 'string',
  });
  if (type.toUpperCase() !== 'CMD')
    throw invalid(`Unknown type ${JSON.stringify(type.toUpperCase())} in HEALTHCHECK (try CMD)`);
  const command = parseCommandLine(rest);
  if (command === undefined || (command.form === 'exec' && command.words.length === 0))
    throw invalid('Missing command after HEALTHCHECK CMD');
  return {
    command,
    flags: {
      ...interval('interval', flags.interval, 'interval'),
      ...interval('timeout', flags.timeout, 'timeout'),
      ...interval('startPeriod', flags['start-period'], 'start-period'),
      ...interval('startInterval', flags['start-interval'], 'start-interval'),
      ...retriesOf(flags.retries),
    },
  };
}

function interval<Key extends string>(
  key: Key,
  text: string | undefined,
  flag: string,
): { [K in Key]?: number } {
  if (text === undefined || text === '') return {};
  const milliseconds = durationOf(text);
  if (milliseconds === 0) return {};
  if (milliseconds < 1) throw invalid(`Interval ${JSON.stringify(flag)} cannot be less than 1ms`);
  return { [key]: Math.round(milliseconds * 1e6) } as { [K in Key]?: number };
}

function durationOf(text: string): number {
  try {
    return parseDuration(text);
  } catch (error) {
    throw invalid(error instanceof Error ? error.message : String(error));
  }
}

function retriesOf(text: string | undefined): { retries?: number } {
  if (text === undefined || text === '') return {};
  const retries = /^[+-]?[0-9]+$/.test(text) ? Number(text) : Number.NaN;
  if (!(Math.abs(retries) <= 0x7fffffff))
    throw invalid(`strconv.ParseInt: parsing ${JSON.stringify(text)}: invalid syntax`);
  if (retries < 0) throw invalid(`--retries cannot be negative (${retries})`);
  return { retries };
}

function invalid(message: string): TinyrunError {
  return new TinyrunError('invalid', message);
}
