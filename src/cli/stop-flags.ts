import type { StopHow } from '../engine/stop.ts';
import type { OptionSpec } from './command.ts';
import type { Parsed } from './parse.ts';

/** How a container is asked to end: of `stop` and `restart`. */
export const STOP_FLAGS: readonly OptionSpec[] = [
  { long: 'signal', short: 's', type: 'string', help: 'Signal to send to the container' },
  { long: 'timeout', short: 't', type: 'int', help: 'Seconds to wait before killing the container' },
  { long: 'time', type: 'int', help: 'Seconds to wait before killing the container', hidden: true },
];

export function stopHow(parsed: Parsed): StopHow {
  const timeout = parsed.number('timeout') ?? parsed.number('time');
  const signal = parsed.string('signal');
  return { ...(timeout === undefined ? {} : { timeout }), ...(signal === undefined ? {} : { signal }) };
}
