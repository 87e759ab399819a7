import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import { errorCode, TinyrunError } from '../errors.ts';

export interface ReportRun {
  readonly program: string;
  readonly args: readonly string[];
  /** Its stdin. */
  readonly input?: number | 'pipe';
  /** Open files that it gets as descriptors 3 and so on; all remain the caller's to close. */
  readonly fds?: readonly number[];
  /** Kills it. */
  readonly signal?: AbortSignal;
  /** Told of the process as soon as it was started. */
  readonly onStart?: (child: ChildProcess) => void;
}

/** What a native program printed, and how it ended where it printed nothing. */
export interface Reported {
  readonly text: string;
  readonly status: string;
}

/** Runs a program that prints one line of JSON. @throws TinyrunError where it cannot be started; the signal's reason */
export async function runReporting(run: ReportRun): Promise<Reported> {
  run.signal?.throwIfAborted();
  const stdio: StdioOptions = [run.input ?? 'ignore', 'pipe', 'ignore', ...(run.fds ?? [])];
  const child = spawn(run.program, [...run.args], { stdio, env: {} });
  const kill = (): void => void child.kill('SIGKILL');
  run.signal?.addEventListener('abort', kill, { once: true });
  try {
    const ended = endOf(child, run.program);
    run.onStart?.(child);
    const [status, text] = await Promise.all([ended, readAll(child)]);
    run.signal?.throwIfAborted();
    return { text, status };
  } finally {
    run.signal?.removeEventListener('abort', kill);
  }
}

function endOf(child: ChildProcess, program: string): Promise<string> {
  return new Promise((resolve, reject) => {
    child.once('error', (cause) => {
      const message = `Cannot start "${program}": ${errorCode(cause) ?? cause.message}`;
      const hint = 'Its native programs are missing or not for this machine: build them with "npm run build"';
      reject(new TinyrunError('internal', message, { cause, hint }));
    });
    child.once('close', (code, signal) =>
      resolve(signal === null ? `ended with status ${code}` : `was killed by ${signal}`),
    );
  });
}

/** A report is one line; anything beyond it is cut off. */
const REPORT_MAX = 64 * 1024;

async function readAll({ stdout }: ChildProcess): Promise<string> {
  let text = '';
  if (stdout === null) return text;
  stdout.setEncoding('utf8');
  try {
    for await (const chunk of stdout) if (text.length < REPORT_MAX) text += String(chunk);
  } catch {
    // Whatever there is has to do: the exit status tells the rest.
  }
  return text;
}

/** The fields of a report; none where it is not one. */
export function reportFields(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? { ...value } : {};
  } catch {
    return {};
  }
}

/** Writes a stream to a program's stdin, until either ends. @throws whatever the stream throws */
export async function feed(stdin: NodeJS.WritableStream, archive: AsyncIterable<Uint8Array>): Promise<void> {
  let isGone = false;
  stdin.on('error', () => {
    isGone = true;
  });
  try {
    for await (const chunk of archive) {
      if (isGone) return;
      if (stdin.write(chunk)) continue;
      await new Promise<void>((resolve) => {
        for (const event of ['drain', 'close', 'error']) stdin.once(event, () => resolve());
      });
    }
  } finally {
    stdin.end();
  }
}
