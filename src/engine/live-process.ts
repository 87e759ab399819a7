import { closeSync, openSync, readFileSync } from 'node:fs';
import { errorCode } from '../errors.ts';

/** A process that is held: its paths never mean another one that got its number. */
export interface LiveProcess {
  /** Its directory in /proc, also for other processes of this pid namespace, as long as it is not closed. */
  readonly directory: string;
  close(): void;
}

/**
 * Holds a process by its directory in /proc, which is bound to the process and not to its number.
 * @param startTime field 22 of /proc/<pid>/stat
 * @returns undefined where it is gone
 */
export function holdProcess(pid: number, startTime: number): LiveProcess | undefined {
  let fd: number;
  try {
    fd = openSync(`/proc/${pid}`, 'r');
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
  // Not /proc/self: the monitor opens it, too.
  const directory = `/proc/${process.pid}/fd/${fd}`;
  if (startTimeIn(directory) === startTime) return { directory, close: () => closeSync(fd) };
  closeSync(fd);
  return undefined;
}

function startTimeIn(directory: string): number | undefined {
  try {
    return parseStartTime(readFileSync(`${directory}/stat`, 'utf8'));
  } catch (error) {
    if (errorCode(error) === 'ESRCH' || errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** Field 22 of the text of /proc/<pid>/stat; the name, field 2, may contain anything but is the only one in parentheses. */
export function parseStartTime(stat: string): number {
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]);
}
