import { createHash } from 'node:crypto';
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join, posix } from 'node:path';
import { Readable } from 'node:stream';
import { extract } from 'tar-stream';
import type { Paths } from '../disk/paths.ts';
import { TinyrunError } from '../errors.ts';
import { type Digest, parseDigest } from '../oci/digest.ts';
import { printable } from '../registry/printable.ts';
import { isDiskFull } from './disk-full.ts';
import { beginLayer } from './half-layer.ts';

/** A member of an archive, on the disk under a name of ours. */
export interface ArchiveFile {
  readonly path: string;
  readonly size: number;
  /** Of the bytes that were read, whatever the archive calls it. */
  readonly digest: Digest;
  /** Its first bytes. */
  readonly start: Uint8Array;
}

/** An image archive, read once from its beginning to its end. */
export interface Archive {
  /** By the name in the archive, links followed. Names are only ever compared, never used as paths. */
  find(name: string): ArchiveFile | undefined;
  withDigest(digest: Digest): ArchiveFile | undefined;
  /** A small member's bytes. @throws TinyrunError `invalid` beyond `longest` bytes */
  read(file: ArchiveFile, longest: number): Buffer;
  /** Deletes the files. */
  dispose(): void;
}

const MOST_MEMBERS = 100_000;
/** Links from one name to another, one after the other. */
const MOST_LINKS = 8;
const BLOB = /^blobs\/sha256\/([0-9a-f]{64})$/;

/**
 * Reads an archive to a directory of its own in the store, which is gone after dispose() or, where the command dies, with
 * the next repair. The order of members does not matter: docker writes the index last.
 * @throws TinyrunError `invalid` for what is no tar, and for a blob that is not what its name says
 */
export async function readArchive(
  paths: Paths,
  chunks: AsyncIterable<Uint8Array>,
  signal?: AbortSignal,
): Promise<Archive> {
  const spool = beginLayer(paths);
  try {
    const files = new Map<string, ArchiveFile>();
    const links = new Map<string, string>();
    const input = Readable.from(boundedHeaders(chunks), { objectMode: false });
    const tar = extract();
    input.once('error', (error) => tar.destroy(error));
    let count = 0;
    for await (const entry of input.pipe(tar)) {
      signal?.throwIfAborted();
      const { name, type, linkname } = entry.header;
      const key = posix.normalize(name).replace(/^\/+/, '');
      count += 1;
      if (count > MOST_MEMBERS) throw bad(`it has more than ${MOST_MEMBERS} members`);
      if (type === 'file' || type === 'contiguous-file') {
        const file = await spoolFile(join(spool.fs, String(count)), entry as AsyncIterable<Uint8Array>);
        const hex = BLOB.exec(key)?.[1];
        if (hex !== undefined && file.digest !== `sha256:${hex}`)
          throw bad(`blob "sha256:${hex}" has the digest "${file.digest}"`);
        files.set(key, file);
      } else {
        // Old versions of docker save write a layer that several images have as a link to the first.
        const base = type === 'symlink' ? posix.dirname(key) : '';
        if (linkname && (type === 'symlink' || type === 'link'))
          links.set(key, posix.join(base, linkname).replace(/^\/+/, ''));
        entry.resume();
      }
    }
    if (count === 0) throw bad('it is empty or no tar archive');
    return archiveOf(files, links, () => spool.dispose());
  } catch (error) {
    spool.dispose();
    signal?.throwIfAborted();
    if (isDiskFull(error)) {
      throw new TinyrunError(
        'unavailable',
        `Cannot load the archive: no space left on the device of "${paths.root}"`,
        { cause: error },
      );
    }
    throw error instanceof TinyrunError || !isTarError(error)
      ? error
      : bad('it is no tar archive, or damaged', error);
  }
}

function archiveOf(
  files: ReadonlyMap<string, ArchiveFile>,
  links: ReadonlyMap<string, string>,
  dispose: () => void,
): Archive {
  const byDigest = new Map([...files.values()].map((file) => [file.digest, file]));
  return {
    find(name) {
      let current = posix.normalize(name).replace(/^\/+/, '');
      for (let hops = 0; hops < MOST_LINKS; hops += 1) {
        const file = files.get(current);
        const next = links.get(current);
        if (file !== undefined || next === undefined) return file;
        current = next;
      }
      return undefined;
    },
    withDigest: (digest) => byDigest.get(digest),
    read({ path, size, digest }, longest) {
      if (size <= longest) return readFileSync(path);
      throw bad(`"${digest}" has ${size} bytes, expected ${longest} at most`);
    },
    dispose,
  };
}

async function spoolFile(path: string, chunks: AsyncIterable<Uint8Array>): Promise<ArchiveFile> {
  const fd = openSync(path, 'wx', 0o600);
  try {
    const hash = createHash('sha256');
    let start: Uint8Array = new Uint8Array();
    let size = 0;
    for await (const chunk of chunks) {
      if (start.byteLength < 8) start = Buffer.concat([start, chunk.subarray(0, 8)]);
      hash.update(chunk);
      for (let at = 0; at < chunk.byteLength; ) at += writeSync(fd, chunk, at);
      size += chunk.byteLength;
    }
    return { path, size, digest: parseDigest(`sha256:${hash.digest('hex')}`), start };
  } finally {
    closeSync(fd);
  }
}

const BLOCK = 512;
/** Bytes of a pax or GNU header: the parser keeps those in memory. */
const LONGEST_HEADER = 1 << 20;

/** Passes a tar on, unless one of its extended headers is larger than any archive of images has. */
async function* boundedHeaders(
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void, undefined> {
  const walk = new HeaderWalk();
  for await (const chunk of chunks) {
    for (let at = 0; at < chunk.byteLength; ) at += walk.take(chunk.subarray(at));
    yield chunk;
  }
}

/** Follows a tar from header to header. */
class HeaderWalk {
  readonly #header = Buffer.alloc(BLOCK);
  #filled = 0;
  #skip = 0;
  /** The pax header that is being read. */
  #pax: Buffer[] | undefined;
  #paxSize: number | undefined;

  /** @returns how many bytes it has dealt with */
  take(bytes: Uint8Array): number {
    if (this.#skip > 0) {
      const step = Math.min(this.#skip, bytes.byteLength);
      this.#pax?.push(Buffer.from(bytes.subarray(0, step)));
      this.#skip -= step;
      if (this.#skip === 0) this.#endPax();
      return step;
    }
    const step = Math.min(BLOCK - this.#filled, bytes.byteLength);
    this.#header.set(bytes.subarray(0, step), this.#filled);
    this.#filled += step;
    if (this.#filled === BLOCK) this.#member();
    return step;
  }

  #member(): void {
    this.#filled = 0;
    const type = String.fromCharCode(this.#header[156] ?? 0);
    const isExtended = 'xgXLKV'.includes(type);
    const size = isExtended ? sizeOf(this.#header) : (this.#paxSize ?? sizeOf(this.#header));
    if (isExtended && size > LONGEST_HEADER) throw bad(`it has a header of ${size} bytes`);
    if (!isExtended) this.#paxSize = undefined;
    if (type === 'x') this.#pax = [];
    this.#skip = Math.ceil(size / BLOCK) * BLOCK;
    if (this.#skip === 0) this.#endPax();
  }

  /** What a pax header says of the size holds, whatever stands in the member's own header. */
  #endPax(): void {
    if (this.#pax === undefined) return;
    const size = /(?:^|\n)\d+ size=(\d{1,15})\n/.exec(Buffer.concat(this.#pax).toString('latin1'))?.[1];
    if (size !== undefined) this.#paxSize = Number(size);
    this.#pax = undefined;
  }
}

/** The field `size`, octal or base 256. */
function sizeOf(header: Buffer): number {
  if (((header[124] ?? 0) & 0x80) !== 0) return Number(header.readBigUInt64BE(128));
  const size = Number.parseInt(header.toString('latin1', 124, 136).replace(/[\0 ].*$/s, ''), 8);
  return Number.isNaN(size) ? 0 : size;
}

/** tar-stream throws plain errors. */
function isTarError(error: unknown): boolean {
  return error instanceof Error && /tar|Unexpected end of data|Invalid/i.test(error.message);
}

function bad(why: string, cause?: unknown): TinyrunError {
  return new TinyrunError('invalid', `Cannot load the archive: ${printable(why, 300)}`, { cause });
}
