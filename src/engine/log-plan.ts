import { existsSync } from 'node:fs';
import type { Paths } from '../disk/paths.ts';
import { TinyrunError } from '../errors.ts';
import type { LogOptions } from '../native/plan.ts';
import type { ContainerRecord } from './containers.ts';

const UNITS: Readonly<Record<string, number>> = { '': 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3 };

const JOURNALD = '/run/systemd/journal/socket';
/** Docker's, of `local`. */
const LOCAL_DEFAULTS = { 'max-size': '20m', 'max-file': '5' };

/**
 * The log of a container, for its launch plan; undefined: none is kept.
 * @throws TinyrunError `unavailable` where journald is not there; `invalid` for options without sense
 */
export async function logPlan(paths: Paths, record: ContainerRecord): Promise<LogOptions | undefined> {
  const { id, options } = record;
  const { logDriver, logOptions } = options;
  switch (logDriver) {
    case 'none':
      return undefined;
    case 'local':
      return {
        path: paths.localLog(id),
        ...logLimits({ ...LOCAL_DEFAULTS, ...logOptions }),
        format: 'local',
      };
    case 'journald':
      if (!existsSync(JOURNALD)) {
        throw new TinyrunError('unavailable', `Cannot log to journald: there is no ${JOURNALD}`, {
          hint: 'Use --log-driver json-file on a machine without systemd',
        });
      }
      return {
        path: JOURNALD,
        maxBytes: 0,
        maxFiles: 1,
        format: 'journald',
        attributes: (await import('./log-attributes.ts')).journalFields(record),
      };
    default:
      return {
        path: paths.log(id),
        ...logLimits(logOptions),
        ...(Object.keys(logOptions).length === 0 ? {} : await withAttributes(record)),
      };
  }
}

async function withAttributes(record: ContainerRecord): Promise<Pick<LogOptions, 'attributes'>> {
  const { entryAttributes } = await import('./log-attributes.ts');
  const attributes = entryAttributes(record);
  return attributes === undefined ? {} : { attributes };
}

/**
 * `max-size` and `max-file` of the json-file log. @returns bytes of one file, 0 for no limit, and how many files are kept
 * @throws TinyrunError `invalid`
 */
export function logLimits(options: Readonly<Record<string, string>>): { maxBytes: number; maxFiles: number } {
  const size = options['max-size'] ?? '-1';
  const files = options['max-file'] ?? '1';
  if (!/^[1-9][0-9]{0,4}$/.test(files)) {
    throw new TinyrunError('invalid', `Cannot use log option max-file "${files}": expected a number from 1`);
  }
  return { maxBytes: size === '-1' ? 0 : bytesOf(size), maxFiles: Number(files) };
}

export function bytesOf(text: string): number {
  const match = /^([0-9]+(?:\.[0-9]+)?) ?([kmg]?)(?:i?b)?$/i.exec(text);
  const bytes = Math.trunc(Number(match?.[1]) * (UNITS[(match?.[2] ?? '').toLowerCase()] ?? Number.NaN));
  if (Number.isSafeInteger(bytes) && bytes > 0) return bytes;
  throw new TinyrunError('invalid', `Cannot use log option max-size "${text}": expected a size, such as 10m`);
}
