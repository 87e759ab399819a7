import type { ReadyHow, WaitFor } from '../engine/index.ts';
import type { OptionSpec } from './command.ts';
import { FlagError, type Parsed } from './parse.ts';

export const WAIT_FLAGS: readonly OptionSpec[] = [
  {
    long: 'wait',
    type: 'bool',
    help: 'With --detach: wait until the container is healthy, or its ports are open',
  },
  { long: 'wait-for', type: 'string', help: 'What to wait for (health|port|log=REGEX|exit); implies --wait' },
  { long: 'wait-timeout', type: 'int', help: 'Seconds after which waiting fails; implies --wait' },
];

/** @returns undefined where nothing is to be waited for */
export function waitOf(parsed: Parsed, detach: boolean): ReadyHow | undefined {
  const waitFor = parsed.one('wait-for', parseWaitFor);
  const seconds = parsed.number('wait-timeout');
  if (!parsed.bool('wait') && waitFor === undefined && seconds === undefined) return undefined;
  if (!detach) throw new FlagError('--wait needs --detach');
  if (seconds !== undefined && seconds < 0) throw new FlagError('--wait-timeout cannot be negative');
  return {
    ...(waitFor === undefined ? {} : { waitFor }),
    ...(seconds === undefined || seconds === 0 ? {} : { timeoutMs: seconds * 1000 }),
  };
}

function parseWaitFor(text: string): WaitFor {
  if (text === 'health' || text === 'port' || text === 'exit') return { type: text };
  if (!text.startsWith('log=') || text === 'log=') throw new Error('expected health, port, log=REGEX, exit');
  return { type: 'log', pattern: new RegExp(text.slice(4), 'u') };
}
