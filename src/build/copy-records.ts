/** What tinyrun-copy is told to make: native/copy/main.c. */
export interface CopyRecord {
  /**
   * `base`: all that follows goes into this directory. `named`: the one that follows gets this name, unless a directory is
   * there: then `source` is its name in it.
   */
  readonly type: 'base' | 'named' | 'directory' | 'file' | 'symlink' | 'content' | 'special';
  readonly mode: number;
  /** Undefined: as the source has it. */
  readonly uid?: number;
  readonly gid?: number;
  /** Milliseconds since 1970. */
  readonly mtimeMs: number;
  /** Below the base; empty: what the base record named. */
  readonly dest: string;
  /** Path below the source's root, target of a symlink, or content. */
  readonly source: string | Uint8Array;
}

const LETTERS: Readonly<Record<CopyRecord['type'], string>> = {
  base: 'B',
  named: 'N',
  directory: 'D',
  file: 'F',
  symlink: 'L',
  content: 'C',
  special: 'S',
};

const HEADER = 1 + 4 * 3 + 8 + 4 + 4;
const KEEP = 0xffff_ffff;

/** The records as one message. */
export function encodeRecords(records: readonly CopyRecord[]): Uint8Array {
  const fields = records.map(({ dest, source }) => [Buffer.from(dest), bytesOf(source)] as const);
  const total = fields.reduce((sum, [dest, source]) => sum + HEADER + dest.length + 4 + source.length, 0);
  const out = Buffer.alloc(total);
  let at = 0;
  for (const [index, record] of records.entries()) {
    const [dest, source] = fields[index] ?? [];
    if (dest === undefined || source === undefined) break;
    out.write(LETTERS[record.type], at, 'latin1');
    out.writeUInt32LE(record.mode, at + 1);
    out.writeUInt32LE(record.uid ?? KEEP, at + 5);
    out.writeUInt32LE(record.gid ?? KEEP, at + 9);
    const seconds = Math.floor(record.mtimeMs / 1000);
    out.writeBigInt64LE(BigInt(seconds), at + 13);
    out.writeUInt32LE(Math.round((record.mtimeMs - seconds * 1000) * 1e6), at + 21);
    at = out.writeUInt32LE(dest.length, at + 25);
    at += dest.copy(out, at);
    at = out.writeUInt32LE(source.length, at);
    out.set(source, at);
    at += source.length;
  }
  return out;
}

function bytesOf(source: string | Uint8Array): Uint8Array {
  return typeof source === 'string' ? Buffer.from(source) : source;
}

/** One name below a path of layers, as tinyrun-copy lists it: native/copy/list.c. */
export interface ListedEntry {
  readonly type: 'directory' | 'file' | 'symlink' | 'other';
  /** Permission bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly mtimeMs: number;
  /** Hex sha256 of a file's content, where it was asked for. */
  readonly digest: string;
  /** Without a leading slash; the root itself is `''`. */
  readonly path: string;
  readonly target: string;
}

const TYPES: Readonly<Record<string, ListedEntry['type']>> = { d: 'directory', f: 'file', l: 'symlink' };
const FIELDS = 10;

/** The lists that tinyrun-copy printed: one for each path asked for, empty where it is not there. */
export function decodeLists(output: Buffer): ListedEntry[][] {
  const fields = output.toString('utf8').split('\0');
  const lists: ListedEntry[][] = [];
  let list: ListedEntry[] = [];
  for (let at = 0; at < fields.length - 1; ) {
    const type = fields[at] ?? '';
    if (type === '') {
      lists.push(list);
      list = [];
      at += 1;
      continue;
    }
    const text = (offset: number): string => fields[at + offset] ?? '';
    const number = (offset: number): number => Number(text(offset));
    list.push({
      type: TYPES[type] ?? 'other',
      mode: number(1),
      uid: number(2),
      gid: number(3),
      size: number(4),
      mtimeMs: number(5) * 1000 + Math.floor(number(6) / 1e6),
      digest: text(7),
      path: text(8),
      target: text(9),
    });
    at += FIELDS;
  }
  return lists;
}
