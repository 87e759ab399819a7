import { TinyrunError } from '../errors.ts';
import { cgroupOf, processesOf } from './container-cgroup.ts';
import type { Core } from './core.ts';
import { containerEvent } from './events.ts';
import { findContainer } from './query.ts';

/** What `ps` of the host says of a container's processes. */
export interface Processes {
  readonly titles: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/**
 * @param psArguments for ps(1); default `-ef`
 * @throws TinyrunError `conflict` where it does not run; `invalid` where ps fails or shows no pid
 */
export async function containerProcesses(
  core: Core,
  text: string,
  psArguments: readonly string[] = [],
): Promise<Processes> {
  const container = await findContainer(core, text);
  if (container.status !== 'running') {
    throw new TinyrunError('conflict', `container ${container.id} is not running`);
  }
  const output = await ps(psArguments.length === 0 ? ['-ef'] : psArguments);
  await containerEvent(core, container.record, 'top');
  return selectProcesses(output, new Set(processesOf(cgroupOf(core, container.record))));
}

/** The rows of ps whose PID is among those wanted. @throws TinyrunError `invalid` in Docker's words */
export function selectProcesses(output: string, pids: ReadonlySet<number>): Processes {
  const [head = '', ...lines] = output.split('\n').filter((line) => line.trim() !== '');
  const titles = head.trim().split(/\s+/);
  const column = titles.indexOf('PID');
  if (column < 0) throw new TinyrunError('invalid', "Couldn't find PID field in ps output");
  const rows = lines
    .map((line) => fieldsOf(line, titles.length))
    .filter((fields) => pids.has(Number(fields[column])));
  return { titles, rows };
}

/** The last field is the rest of the line: a command has spaces. */
function fieldsOf(line: string, count: number): string[] {
  const fields = line.trim().split(/\s+/);
  return [...fields.slice(0, count - 1), fields.slice(count - 1).join(' ')];
}

async function ps(args: readonly string[]): Promise<string> {
  const { execFile } = await import('node:child_process');
  return new Promise((resolve, reject) => {
    execFile('ps', args, { maxBuffer: 64 * 1024 * 1024, env: { LC_ALL: 'C' } }, (error, stdout, stderr) => {
      if (error === null) return resolve(stdout);
      const reason =
        error.code === 'ENOENT' ? 'this machine has no ps' : (stderr.trim().split('\n')[0] ?? error.message);
      reject(new TinyrunError('invalid', `Error running ps: ${reason}`, { cause: error }));
    });
  });
}
