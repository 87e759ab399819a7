import { closeSync, existsSync, fstatSync, openSync, readSync, statSync } from 'node:fs';
import { errorCode } from '../errors.ts';

const CHUNK = 64 * 1024;
/** A line beyond this is no line of ours: what was read of it is dropped. */
const LINE_MAX = 4 * 1024 * 1024;

/** Reads the lines that are appended to a file, also when the file is set aside by a rename in between. */
export class GrowingLines {
  readonly #path: string;
  #fd: number | undefined;
  #offset = 0;
  #rest: Buffer = Buffer.alloc(0);

  constructor(path: string) {
    this.#path = path;
  }

  /** The lines that were completed since the last call, in batches, without their newlines. */
  *read(): Generator<string[]> {
    yield* this.rest();
    while (this.#setAside()) {
      // The old file got its last line before it was renamed.
      yield* this.rest();
      this.close();
      yield* this.rest();
    }
  }

  /** As {@link read}, of the file that is open only. */
  *rest(): Generator<string[]> {
    if (!this.open() || this.#fd === undefined) return;
    // Emptied in place (`logs --clear`): what comes now is new.
    if (fstatSync(this.#fd).size < this.#offset) {
      this.#offset = 0;
      this.#rest = Buffer.alloc(0);
    }
    for (;;) {
      const chunk = Buffer.allocUnsafe(CHUNK);
      const length = readSync(this.#fd, chunk, 0, CHUNK, this.#offset);
      if (length === 0) return;
      this.#offset += length;
      const bytes = Buffer.concat([this.#rest, chunk.subarray(0, length)]);
      const end = bytes.lastIndexOf(10) + 1;
      this.#rest = bytes.length - end > LINE_MAX ? Buffer.alloc(0) : bytes.subarray(end);
      const lines = bytes.toString('utf8', 0, end).split('\n');
      lines.pop();
      if (lines.length > 0) yield lines;
    }
  }

  /** Goes to where the last `count` lines begin. @returns how many there are, at most `count` */
  skipToLast(count: number): number {
    if (!this.open() || this.#fd === undefined) return 0;
    const { size } = fstatSync(this.#fd);
    this.#offset = size;
    if (count === 0) return 0;
    const chunk = Buffer.allocUnsafe(CHUNK);
    let found = 0;
    for (let start = size; start > 0; ) {
      const length = Math.min(CHUNK, start);
      start -= length;
      const filled = readSync(this.#fd, chunk, 0, length, start);
      for (let at = filled - 1; at >= 0; at -= 1) {
        // The newline that ends the file begins no line.
        if (chunk[at] !== 10 || start + at === size - 1) continue;
        found += 1;
        if (found < count) continue;
        this.#offset = start + at + 1;
        return found;
      }
    }
    this.#offset = 0;
    return size === 0 ? 0 : found + 1;
  }

  /** Holds on to the file as it is now, whatever it is renamed to. @returns false where there is none */
  open(): boolean {
    if (this.#fd !== undefined) return true;
    if (!existsSync(this.#path)) return false;
    try {
      this.#fd = openSync(this.#path, 'r');
    } catch (error) {
      if (errorCode(error) !== 'ENOENT') throw error;
    }
    return this.#fd !== undefined;
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd);
    this.#fd = undefined;
    this.#offset = 0;
    this.#rest = Buffer.alloc(0);
  }

  #setAside(): boolean {
    if (this.#fd === undefined) return false;
    const now = statSync(this.#path, { throwIfNoEntry: false });
    return now !== undefined && now.ino !== fstatSync(this.#fd).ino;
  }
}
