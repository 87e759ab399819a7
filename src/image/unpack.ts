import { type ChildProcess, spawn } from 'node:child_process';
import type { Writable } from 'node:stream';
import { type ErrorKind, errorCode, TinyrunError } from '../errors.ts';
import { type Digest, hexOf, shortId } from '../oci/digest.ts';
import type { Descriptor } from '../oci/image-spec.ts';

export interface UnpackInput {
  /** The program tinyrun-unpack. */
  readonly unpacker: string;
  /** An empty directory. After a failure its content is undefined, and the caller's to remove. */
  readonly layerDir: string;
  /** The blob's file, open for reading and writing: what `body` yields is written to it, from `have` on. */
  readonly blobFd: number;
  /** Bytes that the file holds already; they are verified with the rest. */
  readonly have: number;
  readonly descriptor: Descriptor;
  readonly diffId: Digest;
  /** The bytes after the first `have`; not needed where those are all. */
  readonly body?: AsyncIterable<Uint8Array>;
  /**
   * Instead of `body`: the caller writes the file, and yields how many bytes from its start are there, each time they
   * are more. The unpacker reads the file itself: the blob goes through no pipe.
   */
  readonly arrived?: AsyncIterable<number>;
  /** The layers below, top first, for a layer that failed with `needs-lower`. */
  readonly lower?: readonly string[];
  /** Kills the unpacker. */
  readonly signal?: AbortSignal;
  /** Bytes of the uncompressed tar; default 1 TiB. */
  readonly maxBytes?: number;
}

/** What there is to know of an unpacked layer. */
export interface UnpackReport {
  /** Entries of the tar, and its bytes. */
  readonly files: number;
  readonly bytes: number;
  /** The layer hides everything below it, which overlayfs cannot say of a root. */
  readonly opaqueRoot: boolean;
  /** Of a verification: how many. */
  readonly damages?: number;
}

/** native/unpack/report.c: `enum failure_kind`. */
export type UnpackFailure =
  | 'digest'
  | 'diffid'
  | 'size'
  | 'corrupt'
  | 'tar'
  | 'unsafe'
  | 'space'
  | 'io'
  | 'needs-lower';

/** A layer that did not unpack. Everything but `space` and `io` is the fault of the blob or of the image. */
export class UnpackError extends TinyrunError {
  override readonly name = 'UnpackError';
  readonly failure: UnpackFailure;
  /** The system call's error, such as `ENOSPC`, where one failed; errorCode() finds it under this name. */
  readonly code?: string;
  /** With `needs-lower`: the file that a layer below has. */
  readonly path?: string;

  constructor(layer: Digest, failed: Failed) {
    super(errorKind(failed), sentence(layer, failed));
    this.failure = failed.kind;
    if (failed.errno !== undefined) this.code = failed.errno;
    if (failed.path !== undefined) this.path = failed.path;
  }
}

/** @param failure any where absent */
export function isUnpackError(error: unknown, failure?: UnpackFailure): error is UnpackError {
  return error instanceof UnpackError && (failure === undefined || error.failure === failure);
}

export type UnpackLayer = (input: UnpackInput) => Promise<UnpackReport>;

/**
 * Unpacks one layer in a process of its own (native/unpack): decompresses, verifies the blob's digest and the content's
 * diffID, makes the files, and keeps the blob, all in one pass.
 *
 * Settles after the process has ended. Where `body` fails, everything that came before is in the blob's file.
 * @throws UnpackError; whatever `body` throws; the signal's reason
 */
export const unpackLayer: UnpackLayer = async (input) => {
  const { unpacker, blobFd, arrived, signal, descriptor } = input;
  const body = arrived === undefined ? input.body : encodeNumbers(arrived);
  const report = await runUnpacker({ unpacker, arguments: argumentsOf(input), blobFd, body, signal });
  if ('kind' in report) throw new UnpackError(descriptor.digest, report);
  return report;
};

interface UnpackerRun {
  readonly unpacker: string;
  readonly arguments: readonly string[];
  readonly blobFd?: number;
  readonly body: AsyncIterable<Uint8Array> | undefined;
  readonly signal: AbortSignal | undefined;
  /** Told each line before the last, which is the report. */
  readonly onLine?: (line: string) => void;
}

/**
 * Runs the unpacker, and answers with what it said.
 * @throws whatever `body` throws; the signal's reason
 */
export async function runUnpacker(run: UnpackerRun): Promise<UnpackReport | Failed> {
  const { unpacker, body, signal } = run;
  signal?.throwIfAborted();
  const child = spawn(unpacker, run.arguments, {
    stdio: [body === undefined ? 'ignore' : 'pipe', 'pipe', 'ignore', run.blobFd ?? 'ignore'],
    env: {},
  });
  const ended = endOf(child);
  const feeding = new Feeding(child.stdin, body);
  // The reason is thrown below, after the process has gone: its directory can be removed then.
  const kill = (): void => void child.kill('SIGKILL');
  signal?.addEventListener('abort', kill, { once: true });
  try {
    const [end, output] = await Promise.all([ended, readAll(child)]);
    signal?.throwIfAborted();
    if (end.error !== undefined) throw cannotStart(unpacker, end.error);
    if (feeding.failure !== undefined) throw feeding.failure.error;
    const lines = output.trimEnd().split('\n');
    const report = parseReport(lines.pop() ?? '') ?? failedBy(end);
    for (const line of lines) run.onLine?.(line);
    return report;
  } finally {
    signal?.removeEventListener('abort', kill);
  }
}

/** The blob is descriptor 3 of the child: the fourth of its `stdio`. */
export function argumentsOf(input: UnpackInput): string[] {
  const { layerDir, have, descriptor, diffId, lower = [], maxBytes } = input;
  const options = ['--layer', layerDir, '--blob', '3', '--have', String(have)];
  options.push('--size', String(descriptor.size), '--digest', hexOf(descriptor.digest));
  options.push('--diff-id', hexOf(diffId));
  if (input.arrived !== undefined) options.push('--follow', '1');
  for (const directory of lower) options.push('--lower', directory);
  if (maxBytes !== undefined) options.push('--max-bytes', String(maxBytes));
  return options;
}

/** native/unpack/source.c: eight bytes each, little-endian. */
async function* encodeNumbers(numbers: AsyncIterable<number>): AsyncGenerator<Uint8Array> {
  for await (const number of numbers) {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(BigInt(number));
    yield bytes;
  }
}

interface End {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  /** The process did not start. */
  readonly error?: Error;
}

function endOf(child: ChildProcess): Promise<End> {
  return new Promise((resolve) => {
    child.once('error', (error) => resolve({ code: null, signal: null, error }));
    child.once('close', (code, signal) => resolve({ code, signal }));
  });
}

/** A report is one line, after some of damages; anything beyond it is cut off. */
const REPORT_MAX = 1 << 20;

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

/**
 * Writes a body to the unpacker. Nobody waits for it: an unpacker that ends early, with a report, is no error here, and
 * must not wait for a network that stalls.
 */
class Feeding {
  /** The body failed: the unpacker got what came before, and then the end. */
  failure?: { readonly error: unknown };
  private isGone = false;
  private wake: () => void = () => {};

  constructor(stdin: Writable | null, body: AsyncIterable<Uint8Array> | undefined) {
    if (stdin === null || body === undefined) return;
    stdin.on('drain', () => this.wake());
    for (const event of ['close', 'error']) stdin.on(event, () => this.stop());
    void this.feed(stdin, body);
  }

  private stop(): void {
    this.isGone = true;
    this.wake();
  }

  private async feed(stdin: Writable, body: AsyncIterable<Uint8Array>): Promise<void> {
    try {
      for await (const chunk of body) {
        if (this.isGone) return;
        if (stdin.write(chunk)) continue;
        await new Promise<void>((resolve) => {
          this.wake = resolve;
          if (this.isGone) resolve();
        });
      }
    } catch (error) {
      this.failure = { error };
    } finally {
      stdin.end();
    }
  }
}

export interface Failed {
  readonly kind: UnpackFailure;
  readonly message: string;
  readonly errno?: string;
  readonly path?: string;
}

const FAILURES: ReadonlySet<string> = new Set<UnpackFailure>([
  'digest',
  'diffid',
  'size',
  'corrupt',
  'tar',
  'unsafe',
  'space',
  'io',
  'needs-lower',
]);

/** The line that the unpacker printed; undefined where it is not one. */
export function parseReport(text: string): UnpackReport | Failed | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null || !('ok' in value)) return undefined;
  const fields: Readonly<Record<string, unknown>> = { ...value };
  const { ok, files, bytes, opaqueRoot, damages, kind, message, errno, path } = fields;
  if (ok === true) {
    if (typeof files !== 'number' || typeof bytes !== 'number') return undefined;
    const found = typeof damages === 'number' && damages > 0 ? { damages } : {};
    return { files, bytes, opaqueRoot: opaqueRoot === true, ...found };
  }
  if (typeof kind !== 'string' || !isFailure(kind) || typeof message !== 'string') return undefined;
  return {
    kind,
    message,
    ...(typeof errno === 'string' ? { errno } : {}),
    ...(typeof path === 'string' ? { path } : {}),
  };
}

function isFailure(kind: string): kind is UnpackFailure {
  return FAILURES.has(kind);
}

/** SIGSYS is the system call filter: a bug, or an attack that went nowhere. */
function failedBy({ code, signal }: End): Failed {
  const how = signal === null ? `ended with status ${code}` : `was killed by ${signal}`;
  return { kind: 'io', message: `the unpacker ${how}` };
}

export function errorKind({ kind, errno }: Failed): ErrorKind {
  if (kind === 'space') return 'unavailable';
  if (kind !== 'io') return 'invalid';
  return errno === 'EPERM' || errno === 'EACCES' ? 'denied' : 'internal';
}

/** The wrong digest in Docker's words. */
function sentence(layer: Digest, { kind, message }: Failed): string {
  if (kind === 'digest') return `filesystem layer verification failed for digest ${layer}: ${message}`;
  return `Cannot unpack layer "${shortId(layer)}": ${message}`;
}

function cannotStart(unpacker: string, cause: Error): TinyrunError {
  return new TinyrunError('internal', `Cannot start "${unpacker}": ${errorCode(cause) ?? cause.message}`, {
    cause,
    hint: 'Its native programs are missing or not for this machine: build them with "npm run build"',
  });
}
