import { TinyrunError } from '../errors.ts';
import type { SelectedSource, Selection } from './context.ts';
import type { CopyRecord } from './copy-records.ts';

/** One COPY or ADD, with everything that decides what it makes. */
export interface CopyPlan {
  readonly selections: readonly Selection[];
  /** Files that heredocs make, or that were downloaded. */
  readonly contents: readonly CopyContent[];
  /** Absolute; with a slash at its end it is a directory. */
  readonly destination: string;
  /** Of all that is copied, and of directories made for it; undefined: as the source has it. */
  readonly owner?: Owner;
  readonly chmod?: Chmod;
  readonly parents: boolean;
  /** Milliseconds since 1970, of what has no time of its own. */
  readonly now: number;
}

export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

export interface CopyContent {
  readonly name: string;
  readonly data: Uint8Array;
  /** Default 0644. */
  readonly mode?: number;
  readonly mtimeMs?: number;
}

export type Chmod = (mode: number, isDirectory: boolean) => number;

/**
 * The rules of COPY: what goes where under which name. A directory's content is copied, not the directory; one file gets
 * the destination's name unless that is a directory.
 * @see https://docs.docker.com/reference/dockerfile/#copy
 */
export function planCopy(plan: CopyPlan): CopyRecord[] {
  const { selections, contents, destination, owner } = plan;
  const matches = selections.flatMap((selection) => selection.matches);
  const count = matches.length + contents.length;
  const isDirectory =
    destination.endsWith('/') ||
    count > 1 ||
    plan.parents ||
    matches.some(({ entry }) => entry.type === 'directory');
  if (count > 1 && !destination.endsWith('/') && selections.length + contents.length > 1) {
    throw new TinyrunError(
      'invalid',
      'When using COPY with more than one source file, the destination must be a directory and end with a /',
    );
  }
  const time = wholeSeconds(matches[0]?.entry.mtimeMs ?? contents[0]?.mtimeMs ?? plan.now);
  const [only] = [...matches.map(nameOf), ...contents.map(({ name }) => name)];
  const base: CopyRecord = {
    type: isDirectory ? 'base' : 'named',
    mode: 0o755,
    ...(owner ?? {}),
    mtimeMs: time,
    dest: destination,
    source: isDirectory ? '' : (only ?? ''),
  };
  return [
    base,
    ...matches.flatMap((match) => recordsOf(plan, match, isDirectory)),
    ...contents.map((content) => contentRecord(plan, content, isDirectory)),
  ];
}

function recordsOf(plan: CopyPlan, match: SelectedSource, isDirectory: boolean): CopyRecord[] {
  const { entry, path, below } = match;
  const named = plan.parents ? parentsOf(match) : nameOf(match);
  if (entry.type !== 'directory') return [recordOf(plan, entry, isDirectory ? named : '')];
  const top = plan.parents ? named : '';
  const skip = path === '' ? 0 : path.length + 1;
  return [
    recordOf(plan, entry, top),
    ...below.map((one) => recordOf(plan, one, join(top, one.path.slice(skip)))),
  ];
}

const TYPES = { directory: 'directory', file: 'file', symlink: 'symlink', other: 'special' } as const;

function recordOf(plan: CopyPlan, entry: SelectedSource['entry'], dest: string): CopyRecord {
  const isDirectory = entry.type === 'directory';
  const { uid, gid } = plan.owner ?? entry;
  return {
    type: TYPES[entry.type],
    mode: plan.chmod === undefined ? entry.mode : plan.chmod(entry.mode, isDirectory),
    uid,
    gid,
    mtimeMs: wholeSeconds(entry.mtimeMs),
    dest,
    source: entry.type === 'symlink' ? (entry.target ?? '') : entry.path,
  };
}

function contentRecord(plan: CopyPlan, content: CopyContent, isDirectory: boolean): CopyRecord {
  const mode = content.mode ?? 0o644;
  return {
    type: 'content',
    mode: plan.chmod === undefined ? mode : plan.chmod(mode, false),
    uid: plan.owner?.uid ?? 0,
    gid: plan.owner?.gid ?? 0,
    mtimeMs: wholeSeconds(content.mtimeMs ?? plan.now),
    dest: isDirectory ? content.name : '',
    source: content.data,
  };
}

/** A tar has no more: the files here are to be those of the layer. */
function wholeSeconds(milliseconds: number): number {
  return Math.floor(milliseconds / 1000) * 1000;
}

/** The last component of the path as it was matched: a link gives its own name to what it leads to. */
function nameOf({ asNamed }: SelectedSource): string {
  return asNamed.replace(/\/+$/, '').split('/').at(-1) ?? '';
}

/** `--parents`: the path as named, from a `/./` in it on. */
function parentsOf({ asNamed }: SelectedSource): string {
  const pivot = asNamed.lastIndexOf('/./');
  const path = pivot < 0 ? asNamed : asNamed.slice(pivot + 3);
  return path
    .split('/')
    .filter((part) => part !== '' && part !== '.')
    .join('/');
}

function join(top: string, path: string): string {
  return top === '' ? path : `${top}/${path}`;
}
