import { TinyrunError } from '../errors.ts';
import { errorKind, runUnpacker, type UnpackReport } from './unpack.ts';

export interface UnpackArchiveInput {
  /** The program tinyrun-unpack. */
  readonly unpacker: string;
  /** An empty directory. After a failure its content is undefined, and the caller's to remove. */
  readonly directory: string;
  /** A tar, plain or compressed with gzip or zstd. */
  readonly body: AsyncIterable<Uint8Array>;
  /** Of the uncompressed tar. */
  readonly maxBytes: number;
  readonly maxEntries?: number;
  /** For messages: `the build context`. */
  readonly what: string;
  readonly signal?: AbortSignal;
}

/**
 * Unpacks an archive that is no layer, in the same sandbox: nothing outside of the directory can be reached by whatever names
 * and links are in it. Names that begin with `.wh.` are names here.
 */
export async function unpackArchive(input: UnpackArchiveInput): Promise<UnpackReport> {
  const { unpacker, directory, body, signal, what } = input;
  const options = ['--layer', directory, '--plain', '1', '--max-bytes', String(input.maxBytes)];
  if (input.maxEntries !== undefined) options.push('--max-entries', String(input.maxEntries));
  const report = await runUnpacker({ unpacker, arguments: options, body, signal });
  if (!('kind' in report)) return report;
  throw new TinyrunError(errorKind(report), `Cannot unpack ${what}: ${report.message}`);
}
