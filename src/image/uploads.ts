import { createHash, type Hash, randomUUID } from 'node:crypto';
import {
  closeSync,
  createReadStream,
  fsync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { promisify } from 'node:util';
import { makePrivateDirectory } from '../disk/atomic.ts';
import type { Paths } from '../disk/paths.ts';
import type { Digest } from '../oci/digest.ts';
import type { Upload } from '../registry/server/shelf.ts';
import { isDiskFull } from './disk-full.ts';

const MOST_UPLOADS = 1000;
/** Milliseconds after which an upload that nobody goes on with makes room for another. */
const IDLE = 3600_000;

export interface Uploads {
  begin(): Upload | undefined;
  upload(id: string): Promise<Upload | undefined>;
}

/**
 * Uploads of clients, as files in `ingest/`: one that is broken off is resumed, by a later server, too, and what nobody
 * resumes is deleted with the other old partial downloads.
 */
export function openUploads(paths: Paths): Uploads {
  const open = new Map<string, FileUpload>();
  const forget = (id: string): void => void open.delete(id);
  return {
    begin() {
      if (open.size >= MOST_UPLOADS) {
        for (const upload of open.values()) if (upload.isIdle()) upload.abandon();
        if (open.size >= MOST_UPLOADS) return undefined;
      }
      const upload = new FileUpload(paths, randomUUID(), forget);
      open.set(upload.id, upload);
      return upload;
    },
    async upload(id) {
      const known = open.get(id);
      if (known !== undefined) return known;
      if (statSync(paths.upload(id), { throwIfNoEntry: false }) === undefined) return undefined;
      const upload = new FileUpload(paths, id, forget);
      open.set(id, upload);
      await upload.rehash();
      return upload;
    },
  };
}

class FileUpload implements Upload {
  readonly id: string;
  readonly #paths: Paths;
  readonly #forget: (id: string) => void;
  #hash: Hash = createHash('sha256');
  #offset = 0;
  #touched = Date.now();
  /** The calls one after the other: who resumes must not meet the end of what broke off. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(paths: Paths, id: string, forget: (id: string) => void) {
    this.id = id;
    this.#paths = paths;
    this.#forget = forget;
  }

  isIdle(): boolean {
    return Date.now() - this.#touched > IDLE;
  }

  abandon(): void {
    rmSync(this.#path, { force: true });
    this.#forget(this.id);
  }

  /** Of a file that an earlier server left. */
  rehash(): Promise<void> {
    return this.#next(async () => {
      for await (const chunk of createReadStream(this.#path, { highWaterMark: 1 << 20 })) {
        this.#hash.update(chunk as Uint8Array);
        this.#offset += (chunk as Uint8Array).byteLength;
      }
    });
  }

  offset(): Promise<number> {
    return this.#next(async () => this.#offset);
  }

  append(chunks: AsyncIterable<Uint8Array>, first: number | undefined): Promise<boolean> {
    return this.#next(async () => {
      if (first !== undefined && first !== this.#offset) return false;
      const fd = this.#open();
      try {
        for await (const chunk of chunks) {
          for (let at = 0; at < chunk.byteLength; )
            at += writeSync(fd, chunk, at, undefined, this.#offset + at);
          this.#hash.update(chunk);
          this.#offset += chunk.byteLength;
          this.#touched = Date.now();
        }
      } catch (error) {
        // Whoever tries again begins anew; until then the space is for others.
        if (isDiskFull(error)) this.abandon();
        throw error;
      } finally {
        closeSync(fd);
      }
      return true;
    });
  }

  finish(digest: Digest): Promise<boolean> {
    return this.#next(async () => {
      const fd = this.#open();
      try {
        if (`sha256:${this.#hash.digest('hex')}` !== digest) {
          this.abandon();
          return false;
        }
        // What is acknowledged outlives a power cut: the client deletes its own, perhaps.
        await promisify(fsync)(fd);
        makePrivateDirectory(this.#paths.blobs);
        renameSync(this.#path, this.#paths.blob(digest));
        this.#forget(this.id);
        return true;
      } finally {
        closeSync(fd);
      }
    });
  }

  cancel(): Promise<void> {
    return this.#next(async () => this.abandon());
  }

  get #path(): string {
    return this.#paths.upload(this.id);
  }

  #open(): number {
    makePrivateDirectory(this.#paths.ingest);
    return openSync(this.#path, 'a+', 0o600);
  }

  #next<T>(work: () => Promise<T>): Promise<T> {
    const next = this.#last.then(work, work);
    this.#last = next.catch(() => {});
    return next;
  }
}
