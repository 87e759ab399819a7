import { lstatSync, mkdirSync, readdirSync, rmSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import { errorCode, TinyrunError } from '../errors.ts';
import { type Environment, type GitRun, runGit } from './git-program.ts';
import type { GitSource } from './git-url.ts';

export interface GitCheckoutInput {
  readonly source: GitSource;
  /** An empty directory; the checkout is made in `tree` of it. */
  readonly directory: string;
  readonly env: Environment;
  readonly signal?: AbortSignal;
  /** What git writes to stderr. */
  readonly onLog?: (chunk: Uint8Array) => void;
}

export interface GitCheckout {
  /** The repository's files, or those of the subdirectory. */
  readonly directory: string;
  readonly commit: string;
}

const LOCAL_REF = 'refs/tinyrun/context';
const COMMIT = /^[0-9a-f]{40}(?:[0-9a-f]{24})?$/;

/** Which commit a source is, without fetching it. */
export async function resolveGit(source: GitSource, run: Omit<GitRun, 'directory'>): Promise<string> {
  const { remote, ref = 'HEAD' } = source;
  if (COMMIT.test(ref)) return ref;
  const names = ref === 'HEAD' || ref.startsWith('refs/') ? [ref] : [`refs/heads/${ref}`, `refs/tags/${ref}`];
  const wanted = names.flatMap((name) => [name, `${name}^{}`]);
  const output = await runGit(['ls-remote', '--', remote, ...wanted], run);
  const found = new Map(
    output.split('\n').map((line) => {
      const [commit = '', name = ''] = line.split('\t');
      return [name, commit] as const;
    }),
  );
  // An annotated tag is an object of its own; its commit is told under `^{}`.
  for (const name of wanted.toReversed()) {
    const commit = found.get(name);
    if (commit !== undefined && COMMIT.test(commit)) return commit;
  }
  throw new TinyrunError(
    'not_found',
    `repository does not contain ref ${ref}, output: ${JSON.stringify(output.slice(0, 200))}`,
  );
}

/** Fetches one commit, checks it out, and its submodules. */
export async function checkoutGit(input: GitCheckoutInput): Promise<GitCheckout> {
  const { source, env } = input;
  const tree = join(input.directory, 'tree');
  mkdirSync(tree, { mode: 0o755 });
  const run: GitRun = {
    directory: tree,
    env,
    home: input.directory,
    ...(input.signal === undefined ? {} : { signal: input.signal }),
    ...(input.onLog === undefined ? {} : { onLog: input.onLog }),
  };
  await runGit(['init', '--quiet'], run);
  await fetchRef(source, run);
  const commit = (await runGit(['rev-parse', `${LOCAL_REF}^{commit}`], run)).trim();
  if (source.checksum !== undefined && !commit.startsWith(source.checksum))
    throw new TinyrunError('invalid', `expected checksum to match ${source.checksum}, got ${commit}`);
  await runGit(['checkout', '--quiet', '--detach', LOCAL_REF], run);
  if (
    source.submodules !== false &&
    lstatSync(join(tree, '.gitmodules'), { throwIfNoEntry: false })?.isFile() === true
  )
    await runGit(['submodule', 'update', '--quiet', '--init', '--recursive', '--depth=1'], run);
  if (source.mtime === 'commit') {
    const seconds = Number((await runGit(['log', '-1', '--format=%ct', LOCAL_REF], run)).trim());
    setTimes(tree, new Date(seconds * 1000));
  }
  if (source.keepGitDir !== true) removeGitDirectories(tree);
  return { directory: subdirectory(tree, source.subdir), commit };
}

async function fetchRef({ remote, ref = 'HEAD' }: GitSource, run: GitRun): Promise<void> {
  const fetch = (depth: readonly string[], from: string): Promise<string> =>
    runGit(['fetch', '--quiet', ...depth, '--no-tags', '--no-recurse-submodules', '--', remote, from], run);
  const shallow = ['--depth=1'];
  if (COMMIT.test(ref)) {
    try {
      await fetch(shallow, `+${ref}:${LOCAL_REF}`);
    } catch (error) {
      if (run.signal?.aborted === true) throw error;
      // A server may refuse single commits: then all branches, of which it is in one.
      await fetch([], '+refs/heads/*:refs/remotes/origin/*');
      await runGit(['update-ref', LOCAL_REF, ref], run);
    }
    return;
  }
  if (ref === 'HEAD' || ref.startsWith('refs/')) {
    await fetch(shallow, `+${ref}:${LOCAL_REF}`);
    return;
  }
  try {
    await fetch(shallow, `+refs/heads/${ref}:${LOCAL_REF}`);
  } catch (error) {
    if (run.signal?.aborted === true) throw error;
    await fetch(shallow, `+refs/tags/${ref}:${LOCAL_REF}`);
  }
}

/** `.git` at the top, and the files of that name that submodules have. */
function removeGitDirectories(tree: string): void {
  rmSync(join(tree, '.git'), { recursive: true, force: true });
  for (const entry of readdirSync(tree, { recursive: true, withFileTypes: true }))
    if (entry.name === '.git') rmSync(join(entry.parentPath, entry.name), { recursive: true, force: true });
}

function setTimes(tree: string, time: Date): void {
  for (const entry of readdirSync(tree, { recursive: true, withFileTypes: true }))
    if (entry.isFile()) utimesSync(join(entry.parentPath, entry.name), time, time);
}

/**
 * Part by part, each of them a directory and no link: a repository's links lead wherever its author wanted (CVE-2026-33748,
 * CVE-2026-44517).
 */
export function subdirectory(tree: string, subdir: string | undefined): string {
  let current = tree;
  for (const part of subdir === undefined ? [] : subdir.split('/')) {
    current = join(current, part);
    let isDirectory: boolean;
    try {
      isDirectory = lstatSync(current).isDirectory();
    } catch (error) {
      if (errorCode(error) !== 'ENOENT' && errorCode(error) !== 'ENOTDIR') throw error;
      throw new TinyrunError('not_found', `subdir not found ${JSON.stringify(subdir)}`);
    }
    if (!isDirectory)
      throw new TinyrunError(
        'invalid',
        `subdir ${JSON.stringify(subdir)} is not a directory of the repository`,
      );
  }
  return current;
}
