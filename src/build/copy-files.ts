import { spawn } from 'node:child_process';
import { type ErrorKind, TinyrunError } from '../errors.ts';
import { errnoName } from '../native/errno.ts';
import { copyProgram } from '../native/library.ts';
import { type CopyRecord, decodeLists, encodeRecords, type ListedEntry } from './copy-records.ts';

/** What did not work in tinyrun-copy. */
export class CopyError extends TinyrunError {
  override readonly name = 'CopyError';
  /** native/copy: `read`, `write`, `destination`, `not-directory`, `is-directory`, `changed`, `layers` … */
  readonly trouble: string;
  readonly errno: string;

  constructor(trouble: string, errno: string, path: string) {
    super(kindOf(trouble, errno), sentence(trouble, errno, path));
    this.trouble = trouble;
    this.errno = errno;
  }
}

export interface CopyInput {
  /** A new empty directory: the layer. */
  readonly upper: string;
  /** The layers below, top first; none: the layer stands alone. */
  readonly lower: readonly string[];
  /** Where files come from: the directories of layers, top first, or one directory. */
  readonly source: readonly string[];
  readonly records: readonly CopyRecord[];
  readonly signal?: AbortSignal;
}

/** Makes files and directories in a new layer, by the rules of native/copy/tree.c. @throws CopyError */
export async function copyFiles(input: CopyInput): Promise<void> {
  const { upper, lower, source, records, signal } = input;
  const args = ['copy', '--upper', upper, ...flag('--lower', lower), ...flag('--source', source)];
  await runCopier(args, encodeRecords(records), signal);
}

export interface ListInput {
  /** As {@link CopyInput.source}. */
  readonly source: readonly string[];
  /** From the root of the source; links are followed inside of it. */
  readonly paths: readonly string[];
  readonly withDigests: boolean;
  /** How deep; default all. */
  readonly depth?: number;
  readonly signal?: AbortSignal;
}

/** What the paths are and what is below them; the first entry is the path itself, under its real name. @throws CopyError */
export async function listFiles(input: ListInput): Promise<ListedEntry[][]> {
  const { source, paths, withDigests, depth, signal } = input;
  const options = [
    ...(withDigests ? ['--digests', '1'] : []),
    ...(depth === undefined ? [] : ['--depth', String(depth)]),
  ];
  const requests = Buffer.from(paths.map((path) => `${path}\0`).join(''));
  return decodeLists(await runCopier(['list', ...options, ...flag('--source', source)], requests, signal));
}

function flag(name: string, values: readonly string[]): string[] {
  return values.flatMap((value) => [name, value]);
}

async function runCopier(
  args: readonly string[],
  input: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<Buffer> {
  signal?.throwIfAborted();
  const program = copyProgram();
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], env: {} });
  const kill = (): void => void child.kill('SIGKILL');
  signal?.addEventListener('abort', kill, { once: true });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
  // One that ends early says why on stderr.
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  try {
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once('error', (cause) => {
        const hint =
          'Its native programs are missing or not for this machine: build them with "npm run build"';
        reject(new TinyrunError('internal', `Cannot start "${program}"`, { cause, hint }));
      });
      child.once('close', resolve);
    });
    signal?.throwIfAborted();
    if (code === 0) return Buffer.concat(stdout);
    const [trouble = '', errno = '0', path = ''] = Buffer.concat(stderr).toString('utf8').split('\0');
    throw new CopyError(trouble === '' ? 'crashed' : trouble, errnoName(Number(errno)), path);
  } finally {
    signal?.removeEventListener('abort', kill);
  }
}

function kindOf(trouble: string, errno: string): ErrorKind {
  if (['not-directory', 'is-directory', 'destination', 'changed'].includes(trouble)) return 'invalid';
  return errno === 'ENOSPC' || errno === 'EDQUOT' ? 'unavailable' : 'internal';
}

function sentence(trouble: string, errno: string, path: string): string {
  switch (trouble) {
    case 'not-directory':
      return `cannot copy to non-directory: ${path}`;
    case 'is-directory':
      return `cannot replace to directory ${path} with file`;
    case 'changed':
      return `Cannot read "${path}": it has changed during the build`;
    case 'read':
      return `Cannot read "${path}": ${errno}`;
    case 'write':
    case 'destination':
      return `Cannot write "${path}": ${errno}`;
    default:
      return `Cannot copy files: ${trouble} "${path}" ${errno}`;
  }
}
