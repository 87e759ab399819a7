import { spawn } from 'node:child_process';
import { Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { errorCode, TinyrunError } from '../errors.ts';

const MAGIC: readonly (readonly [format: 'gzip' | 'zstd' | 'bzip2' | 'xz', bytes: readonly number[]])[] = [
  ['gzip', [0x1f, 0x8b]],
  ['zstd', [0x28, 0xb5, 0x2f, 0xfd]],
  ['bzip2', [0x42, 0x5a, 0x68]],
  ['xz', [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]],
];

/** What the first bytes of a file say of its compression; undefined for none that is known. */
export function sniff(start: Uint8Array): (typeof MAGIC)[number][0] | undefined {
  return MAGIC.find(([, magic]) => magic.every((byte, at) => start[at] === byte))?.[0];
}

/**
 * The bytes of an archive, decompressed as their beginning says.
 * @throws TinyrunError `unsupported` for xz and bzip2, `invalid` for damaged data
 */
export async function* decompressed(
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void, undefined> {
  const iterator = chunks[Symbol.asyncIterator]();
  const first: Uint8Array[] = [];
  for (let length = 0; length < 8; ) {
    const next = await iterator.next();
    if (next.done === true) break;
    first.push(next.value);
    length += next.value.byteLength;
  }
  const head = Buffer.concat(first);
  async function* all(): AsyncGenerator<Uint8Array, void, undefined> {
    yield head;
    for (;;) {
      const next = await iterator.next();
      if (next.done === true) return;
      yield next.value;
    }
  }
  const format = sniff(head);
  if (format === undefined) yield* all();
  else if (format === 'gzip') yield* gunzipped(all());
  else if (format === 'zstd') yield* unzstded(all());
  else {
    throw new TinyrunError('unsupported', `Cannot read the archive: it is compressed with ${format}`, {
      hint: `Decompress it first, for example with "${format} -dc"`,
    });
  }
}

async function* gunzipped(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  const input = Readable.from(source, { objectMode: false });
  const gunzip = createGunzip({ chunkSize: 256 << 10 });
  input.once('error', (error) => gunzip.destroy(error));
  try {
    for await (const chunk of input.pipe(gunzip)) yield chunk as Uint8Array;
  } catch (error) {
    if (!/^Z_|^ERR_ZLIB/.test(errorCode(error) ?? '')) throw error;
    throw new TinyrunError('invalid', 'Cannot read the archive: its gzip data is damaged', { cause: error });
  } finally {
    input.destroy();
    gunzip.destroy();
  }
}

/** By the zstd program: Node 20 has no decoder of its own. */
async function* unzstded(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void, undefined> {
  const child = spawn('zstd', ['-dcq', '--long=27'], { stdio: ['pipe', 'pipe', 'ignore'] });
  const ended = new Promise<Error | number | null>((resolve) => {
    child.once('error', resolve);
    child.once('close', (code) => resolve(code));
  });
  const input = Readable.from(source, { objectMode: false });
  let broken: unknown;
  input.once('error', (error) => {
    broken = error;
    child.kill('SIGKILL');
  });
  // It ends early where the data is damaged; its exit code says so.
  child.stdin.on('error', () => {});
  input.pipe(child.stdin);
  try {
    for await (const chunk of child.stdout) yield chunk as Uint8Array;
    const end = await ended;
    if (broken !== undefined) throw broken;
    if (end instanceof Error) {
      throw new TinyrunError('unsupported', 'Cannot read the archive: it is compressed with zstd', {
        hint: 'Install the program zstd',
        cause: end,
      });
    }
    if (end !== 0) throw new TinyrunError('invalid', 'Cannot read the archive: its zstd data is damaged');
  } finally {
    input.destroy();
    child.kill('SIGKILL');
  }
}
