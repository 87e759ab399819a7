import { createHash } from 'node:crypto';
import { TinyrunError } from '../errors.ts';
import { type Digest, parseDigest } from '../oci/digest.ts';
import type { BuildContext, SelectedSource, Selection, SelectOptions } from './context.ts';
import { listFiles } from './copy-files.ts';
import type { ListedEntry } from './copy-records.ts';

/** Where COPY, ADD and bind mounts have files from: a context, or the layers of a stage or image. */
export interface FileSource {
  /** Directories of layers, top first, or one directory of a context. */
  readonly directories: readonly string[];
  /** Whether files keep their owners: those of an image mean something. */
  readonly keepsOwner: boolean;
  select(patterns: readonly string[], options?: SelectOptions): Promise<readonly Selection[]>;
  digest(patterns: readonly string[], options?: SelectOptions): Promise<Digest>;
  /** The digest of one file's content, of those that `digest` was asked for. */
  contentOf(path: string): Promise<string>;
}

export function contextSource(context: BuildContext): FileSource {
  return {
    directories: [context.directory],
    keepsOwner: false,
    select: (patterns, options) => context.select(patterns, options),
    digest: (patterns, options) => context.digest(patterns, options),
    contentOf: async (path) => (await context.fileDigest(path)).replace('sha256:', ''),
  };
}

/** The files of an image or of a stage that is finished: nothing changes them any more. */
export function layerSource(directories: readonly string[], signal?: AbortSignal): FileSource {
  const selectFrom = (
    patterns: readonly string[],
    options: SelectOptions = {},
    withDigests = false,
  ): Promise<readonly Listed[]> =>
    selectListed({
      directories,
      patterns,
      options,
      withDigests,
      ...(signal === undefined ? {} : { signal }),
    });
  const contents = new Map<string, string>();
  return {
    directories,
    keepsOwner: true,
    select: (patterns, options) => selectFrom(patterns, options),
    digest: async (patterns, options) => {
      const selections = await selectFrom(patterns, options, true);
      for (const { matches } of selections) {
        for (const { entry, below } of matches) {
          for (const { path, digest } of [entry, ...below]) contents.set(path, digest);
        }
      }
      return digestOfSelection(selections);
    },
    contentOf: async (path) => contents.get(path) ?? '',
  };
}

interface Listed extends Selection {
  readonly matches: readonly ListedSource[];
}

interface ListedSource extends SelectedSource {
  readonly entry: ListedEntry;
  readonly below: readonly ListedEntry[];
}

interface Query {
  readonly directories: readonly string[];
  readonly patterns: readonly string[];
  readonly options: SelectOptions;
  readonly withDigests: boolean;
  readonly signal?: AbortSignal;
}

async function selectListed(query: Query): Promise<Listed[]> {
  const { directories, patterns, withDigests, signal } = query;
  const named = await Promise.all(patterns.map((pattern) => namesOf(query, cleaned(pattern))));
  const flat = named.flat();
  const lists = await listFiles({
    source: directories,
    paths: flat,
    withDigests,
    ...(signal === undefined ? {} : { signal }),
  });
  let at = 0;
  return patterns.map((pattern, index) => {
    const matches = (named[index] ?? []).map((asNamed): ListedSource => {
      const [entry, ...below] = lists[at] ?? [];
      at += 1;
      if (entry === undefined) throw notFound(pattern);
      return { path: entry.path, asNamed, entry, below: [...excluded(below, query.options)] };
    });
    if (matches.length === 0) throw notFound(pattern);
    return { pattern, matches };
  });
}

/** What a pattern names; itself, where it is a plain path. */
async function namesOf(query: Query, pattern: string): Promise<string[]> {
  if (!/[*?[\\]/.test(pattern)) return [pattern];
  const parts = pattern.split('/');
  const first = parts.findIndex((part) => /[*?[\\]/.test(part));
  const literal = parts.slice(0, first).join('/');
  const [entries = []] = await listFiles({
    source: query.directories,
    paths: [literal],
    withDigests: false,
    depth: parts.includes('**') ? -1 : parts.length - first,
  });
  const [top, ...below] = entries;
  if (top === undefined) return [];
  const matcher = globOf(parts.slice(first));
  const skip = top.path === '' ? 0 : top.path.length + 1;
  return below
    .map(({ path }) => path.slice(skip))
    .filter((path) => matcher.test(path))
    .map((path) => (literal === '' ? path : `${literal}/${path}`));
}

/** Go's filepath.Match for each component, and `**` for any number of them. */
function globOf(parts: readonly string[]): RegExp {
  const sources = parts.map((part, index) => {
    const end = index === parts.length - 1 ? '' : '/';
    if (part === '**') return end === '' ? '.*' : '(?:[^/]+/)*';
    return `${componentOf(part)}${end}`;
  });
  return new RegExp(`^${sources.join('')}$`, 'su');
}

function componentOf(glob: string): string {
  return glob.replace(
    /\\(.)|\*|\?|\[(\^?)((?:\\.|[^\]\\])+)\]|[.+^${}()|[\]\\]/gs,
    (text, escaped, negated, set) => {
      if (text === '*') return '[^/]*';
      if (text === '?') return '[^/]';
      if (escaped !== undefined) return `\\u{${String(escaped).codePointAt(0)?.toString(16)}}`;
      if (set !== undefined) return `[${negated === '' ? '' : '^'}${String(set).replace(/[[\]]/g, '\\$&')}]`;
      return `\\${text}`;
    },
  );
}

function excluded<T extends { readonly path: string }>(
  entries: readonly T[],
  { exclude = [] }: SelectOptions,
): readonly T[] {
  if (exclude.length === 0) return entries;
  const matchers = exclude.map((pattern) => globOf(cleaned(pattern).split('/')));
  const isHidden = (path: string): boolean => {
    const parts = path.split('/');
    return parts.some((_, at) => matchers.some((matcher) => matcher.test(parts.slice(0, at + 1).join('/'))));
  };
  return entries.filter(({ path }) => !isHidden(path));
}

/** Over path, type, owner, mode, content and target; never over times. */
function digestOfSelection(selections: readonly Listed[]): Digest {
  const hash = createHash('sha256');
  for (const { matches } of selections) {
    for (const { path, asNamed, entry, below } of matches) {
      const skip = path.length;
      hash.update(JSON.stringify(asNamed));
      for (const one of [entry, ...below]) {
        const { type, mode, uid, gid, digest, target } = one;
        hash.update(JSON.stringify([one.path.slice(skip), type, mode, uid, gid, digest, target]));
      }
    }
  }
  return parseDigest(`sha256:${hash.digest('hex')}`);
}

/** Without a leading slash and without `.` and `..`, which cannot lead above the root. */
function cleaned(path: string): string {
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  return parts.join('/');
}

function notFound(pattern: string): TinyrunError {
  const path = pattern.startsWith('/') ? pattern : `/${pattern}`;
  return new TinyrunError('not_found', `failed to compute cache key: ${JSON.stringify(path)}: not found`);
}
