import { spawn } from 'node:child_process';
import { createReadStream } from 'node:fs';
import { errorCode, TinyrunError } from '../errors.ts';
import { decompressed, sniff } from '../image/decompress.ts';
import { unpackArchive } from '../image/unpack-archive.ts';

export type Bytes = AsyncIterable<Uint8Array>;

/** Of an unpacked archive: 64 GiB, and ten million names. */
const MAX_BYTES = 64 * 1024 ** 3;
const MAX_ENTRIES = 10_000_000;
const TAR_BLOCK = 512;

/** The beginning of a stream, and the whole of it. */
export async function peek(chunks: Bytes, length: number): Promise<{ head: Buffer; all: Bytes }> {
  const iterator = chunks[Symbol.asyncIterator]();
  const first: Uint8Array[] = [];
  let have = 0;
  while (have < length) {
    const next = await iterator.next();
    if (next.done === true) break;
    first.push(next.value);
    have += next.value.byteLength;
  }
  const head = Buffer.concat(first);
  async function* all(): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      yield head;
      for (;;) {
        const next = await iterator.next();
        if (next.done === true) return;
        yield next.value;
      }
    } finally {
      await iterator.return?.();
    }
  }
  return { head, all: all() };
}

/** By magic, as docker: names do not count. What is compressed and no tar inside is an ordinary file for ADD. */
export async function isArchiveFile(file: string | number): Promise<boolean> {
  const stream =
    typeof file === 'string'
      ? createReadStream(file)
      : createReadStream('', { fd: file, autoClose: false, start: 0 });
  try {
    const { head, all } = await peek(stream, TAR_BLOCK);
    if (isTarHeader(head)) return true;
    if (sniff(head) === undefined) return false;
    const inside = await peek(plainBytes(all), TAR_BLOCK);
    // Ends the decompressor.
    await inside.all[Symbol.asyncIterator]().return?.();
    return isTarHeader(inside.head);
  } catch (error) {
    if (error instanceof TinyrunError) return false;
    throw error;
  } finally {
    stream.destroy();
  }
}

/** A stream that is a tar or compressed (a context on stdin): anything else is a Dockerfile. */
export function looksLikeArchive(head: Uint8Array): boolean {
  return sniff(head) !== undefined || isTarHeader(head);
}

/** The header's own checksum: the sum of its bytes, its own field taken as spaces. */
function isTarHeader(head: Uint8Array): boolean {
  if (head.byteLength < TAR_BLOCK) return false;
  const field = Buffer.from(head.subarray(148, 156)).toString('latin1');
  const [, octal] = /^[ 0]*([0-7]+)[ \0]/.exec(field) ?? [];
  if (octal === undefined) return false;
  let sum = 0;
  for (let at = 0; at < TAR_BLOCK; at++) sum += at >= 148 && at < 156 ? 32 : (head[at] ?? 0);
  return sum === Number.parseInt(octal, 8);
}

export interface UnpackInput {
  readonly bytes: Bytes;
  /** Empty. */
  readonly directory: string;
  readonly unpacker: string;
  readonly what: string;
  readonly signal?: AbortSignal;
}

/** Unpacks a tar of any compression that docker knows into a directory, in the unpacker's sandbox. */
export async function unpackBytes(input: UnpackInput): Promise<void> {
  const { head, all } = await peek(input.bytes, TAR_BLOCK);
  const format = sniff(head);
  await unpackArchive({
    unpacker: input.unpacker,
    directory: input.directory,
    what: input.what,
    // gzip and zstd it reads itself.
    body: format === 'xz' || format === 'bzip2' ? throughProgram(format, all) : all,
    maxBytes: MAX_BYTES,
    maxEntries: MAX_ENTRIES,
    ...(input.signal === undefined ? {} : { signal: input.signal }),
  });
}

function plainBytes(bytes: Bytes): Bytes {
  async function* plain(): AsyncGenerator<Uint8Array, void, undefined> {
    const { head, all } = await peek(bytes, 8);
    const format = sniff(head);
    yield* format === 'xz' || format === 'bzip2' ? throughProgram(format, all) : decompressed(all);
  }
  return plain();
}

/**
 * xz and bzip2 by the host's programs, found by a fixed path and never in an image (CVE-2026-41567).
 * @throws TinyrunError `unsupported` where there is none
 */
async function* throughProgram(
  program: 'xz' | 'bzip2',
  bytes: Bytes,
): AsyncGenerator<Uint8Array, void, undefined> {
  const child = spawn(program, ['-d', '-c'], {
    stdio: ['pipe', 'pipe', 'ignore'],
    env: { PATH: '/usr/local/bin:/usr/bin:/bin' },
  });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  // Whoever reads its output learns of it there.
  ended.catch(() => {});
  const feeding = feed(child.stdin, bytes);
  try {
    for await (const chunk of child.stdout) yield chunk as Uint8Array;
    if ((await ended) !== 0) throw new TinyrunError('invalid', `the ${program} data is damaged`);
    await feeding;
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error;
    throw new TinyrunError('unsupported', `Cannot decompress with ${program}: there is no such program`, {
      hint: `Install ${program}, or compress with gzip or zstd`,
    });
  } finally {
    child.kill('SIGKILL');
  }
}

async function feed(stdin: NodeJS.WritableStream, bytes: Bytes): Promise<void> {
  let gone = false;
  let wake = (): void => {};
  const stop = (): void => {
    gone = true;
    wake();
  };
  stdin
    .on('error', stop)
    .on('close', stop)
    .on('drain', () => wake());
  try {
    for await (const chunk of bytes) {
      if (gone) return;
      if (stdin.write(chunk)) continue;
      await new Promise<void>((resolve) => {
        wake = resolve;
        if (gone) resolve();
      });
    }
  } finally {
    stdin.end();
  }
}
