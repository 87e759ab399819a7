import { TinyrunError } from '../errors.ts';
import { insideRoot } from './clean-path.ts';
import type { SelectedSource, Selection, SelectOptions } from './context.ts';
import { type ContextTree, entriesBelow, entryAt, resolveInTree, type TreeEntry } from './context-tree.ts';
import { compileGlob } from './glob.ts';
import { type IgnoreMatcher, ignoreMatcher } from './ignore.ts';

/**
 * What the sources of COPY and ADD name in a tree.
 * @param hidden whether .dockerignore hides a path: the hint of `not found`
 */
export function selectSources(
  tree: ContextTree,
  patterns: readonly string[],
  options: SelectOptions,
  hidden: (path: string) => boolean,
): Selection[] {
  const exclude = (options.exclude ?? []).length === 0 ? undefined : ignoreMatcher(options.exclude ?? []);
  return patterns.map((pattern) => {
    const matches =
      options.parents === true
        ? withParents(tree, pattern, exclude, hidden)
        : matchesOf(tree, insideRoot(pattern), exclude, hidden);
    return { pattern, matches };
  });
}

export function hasWildcards(text: string): boolean {
  return /[*?[]/.test(text.replace(/\\./g, ''));
}

function matchesOf(
  tree: ContextTree,
  pattern: string,
  exclude: IgnoreMatcher | undefined,
  hidden: (path: string) => boolean,
): SelectedSource[] {
  if (!hasWildcards(pattern)) {
    const path = pattern.replace(/\\(.)/g, '$1');
    const found = sourceAt(tree, path, path, exclude);
    if (found === undefined) throw notFound(path, hidden);
    return found === 'excluded' ? [] : [found];
  }
  // Links on the way to the first wildcard are followed, those that a wildcard would have to pass are not (BuildKit).
  const { directory, rest } = splitAtWildcard(pattern);
  const resolved = resolveInTree(tree, directory);
  if (resolved === undefined) return [];
  const glob = compileGlob(rest, { doubleStar: false });
  const prefix = resolved === '' ? '' : `${resolved}/`;
  const found: SelectedSource[] = [];
  for (const { path } of entriesBelow(tree, resolved)) {
    const relative = path.slice(prefix.length);
    if (!glob.matches(relative)) continue;
    const source = sourceAt(tree, path, directory === '' ? relative : `${directory}/${relative}`, exclude);
    if (source !== undefined && source !== 'excluded') found.push(source);
  }
  return found;
}

function splitAtWildcard(pattern: string): { directory: string; rest: string } {
  const parts = pattern.split('/');
  const first = parts.findIndex(hasWildcards);
  return { directory: parts.slice(0, first).join('/'), rest: parts.slice(first).join('/') };
}

function sourceAt(
  tree: ContextTree,
  path: string,
  asNamed: string,
  exclude: IgnoreMatcher | undefined,
): SelectedSource | 'excluded' | undefined {
  const resolved = resolveInTree(tree, path);
  const entry = resolved === undefined ? undefined : entryAt(tree, resolved);
  if (resolved === undefined || entry === undefined) return undefined;
  const name = asNamed.slice(asNamed.lastIndexOf('/') + 1);
  if (name !== '' && exclude?.ignored(name) === true) return 'excluded';
  return { path: resolved, asNamed, entry, below: belowOf(tree, entry, exclude) };
}

/** What a directory holds, without what is excluded; a directory of which only exceptions are left stays. */
function belowOf(
  tree: ContextTree,
  { path, type }: TreeEntry,
  exclude: IgnoreMatcher | undefined,
): readonly TreeEntry[] {
  if (type !== 'directory') return [];
  const below = entriesBelow(tree, path);
  if (exclude === undefined) return below;
  const start = path === '' ? 0 : path.length + 1;
  return below.filter((entry) => !exclude.ignored(entry.path.slice(start)));
}

/** `COPY --parents`: `**` is any directories, and `/./` says where the names that are kept begin. */
function withParents(
  tree: ContextTree,
  pattern: string,
  exclude: IgnoreMatcher | undefined,
  hidden: (path: string) => boolean,
): SelectedSource[] {
  const pivot = pattern.indexOf('/./');
  const rest = insideRoot(pivot < 0 ? pattern : pattern.slice(pivot + 3));
  const top = pivot < 0 ? '' : insideRoot(pattern.slice(0, pivot));
  const tops = hasWildcards(top)
    ? matchesOf(tree, top, undefined, hidden).map(({ path }) => path)
    : [topOf(tree, top, hidden)];
  const found = tops.flatMap((base) => belowPivot(tree, base, rest, exclude));
  if (found.length === 0 && !hasWildcards(pattern)) throw notFound(insideRoot(pattern), hidden);
  return found;
}

function topOf(tree: ContextTree, top: string, hidden: (path: string) => boolean): string {
  const path = resolveInTree(tree, top);
  if (path === undefined) throw notFound(top, hidden);
  return path;
}

function belowPivot(
  tree: ContextTree,
  base: string,
  pattern: string,
  exclude: IgnoreMatcher | undefined,
): SelectedSource[] {
  const root = entryAt(tree, base);
  if (root === undefined) return [];
  if (pattern === '') return [{ path: base, asNamed: '', entry: root, below: belowOf(tree, root, exclude) }];
  const matcher = ignoreMatcher([pattern]);
  const start = base === '' ? 0 : base.length + 1;
  const found: SelectedSource[] = [];
  let covered: string | undefined;
  for (const entry of entriesBelow(tree, base)) {
    // What lies in a match comes with it.
    if (covered !== undefined && entry.path.startsWith(covered)) continue;
    const asNamed = entry.path.slice(start);
    if (!matcher.ignored(asNamed) || exclude?.ignored(asNamed) === true) continue;
    if (entry.type === 'directory') covered = `${entry.path}/`;
    const below = entriesBelow(tree, entry.path).filter(
      (each) => exclude?.ignored(each.path.slice(start)) !== true,
    );
    found.push({ path: entry.path, asNamed, entry, below });
  }
  return found;
}

function notFound(path: string, hidden: (path: string) => boolean): TinyrunError {
  return new TinyrunError(
    'not_found',
    `failed to compute cache key: ${JSON.stringify(`/${path}`)}: not found`,
    hidden(path) ? { hint: 'the .dockerignore file excludes it' } : {},
  );
}
