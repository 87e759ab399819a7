import { closeSync, createReadStream, mkdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join, posix } from 'node:path';
import { TinyrunError } from '../errors.ts';
import { unpackProgram } from '../native/library.ts';
import { isArchiveFile, unpackBytes } from './archive.ts';
import type { SelectedSource, Selection } from './context.ts';
import { layerSource } from './copy-source.ts';
import type { Add } from './dockerfile/ast.ts';
import { checkoutGit, resolveGit } from './git-checkout.ts';
import { type GitSource, parseGitSource } from './git-url.ts';
import type { Draft } from './image-config.ts';
import { isHttpUrl, type RemoteFile, remoteFile } from './remote-file.ts';
import type { StageWork } from './stage.ts';
import { type CopyStep, copyInto, writeSelections } from './step-copy.ts';

/** What ADD does beyond COPY. */
export interface Added {
  /** Patterns of the context that decide the cache key. */
  readonly patterns: readonly string[];
  /** The rest that decides it. */
  readonly key: unknown;
  fill(draft: Draft, how: AddHow): Promise<void>;
}

export interface AddHow {
  readonly upper: string;
  readonly scratch: string;
  readonly now: number;
  readonly signal: AbortSignal;
}

interface Sources {
  readonly local: readonly string[];
  readonly files: readonly RemoteFile[];
  readonly repositories: readonly (GitSource & { readonly commit: string })[];
}

/** An ADD: repositories are checked out, addresses downloaded, archives of the context unpacked. */
export async function addedSources(
  work: StageWork,
  instruction: Add,
  copy: CopyStep,
  paths: readonly string[],
): Promise<Added> {
  const { flags } = instruction;
  const sources = await locate(work, instruction, paths);
  if (flags.checksum !== undefined && sources.local.length > 0) {
    throw new TinyrunError('invalid', 'checksum requires HTTP(S) or Git sources');
  }
  const key = {
    unpack: flags.unpack,
    keepGitDir: flags.keepGitDir,
    files: sources.files.map(({ digest, name }) => [digest, name]),
    commits: sources.repositories.map(({ commit, subdir }) => [commit, subdir]),
  };
  return {
    patterns: sources.local,
    key,
    fill: async (draft, how) => {
      const pass: Pass = { work, draft, copy, how, sources };
      await addLocal(pass, flags.unpack ?? true);
      for (const [at, file] of sources.files.entries()) await addFile(pass, file, at, flags.unpack ?? false);
      for (const [at, repository] of sources.repositories.entries()) {
        await addRepository(pass, repository, at, flags.keepGitDir ?? false);
      }
    },
  };
}

async function locate({ solver }: StageWork, { flags }: Add, paths: readonly string[]): Promise<Sources> {
  const { host, signal } = solver.input;
  const { env } = host;
  const local: string[] = [];
  const files: RemoteFile[] = [];
  const repositories: (GitSource & { commit: string })[] = [];
  for (const path of paths) {
    const git = parseGitSource(path);
    if (git !== undefined) {
      const commit = await resolveGit(git, { env, home: host.paths.buildScratch, signal });
      const { checksum = git.checksum } = flags;
      repositories.push({ ...git, commit, ...(checksum === undefined ? {} : { checksum }) });
    } else if (isHttpUrl(path)) {
      const { checksum } = flags;
      const cacheDirectory = host.paths.buildDownloads;
      files.push(
        await remoteFile({
          url: path,
          cacheDirectory,
          env,
          signal,
          ...(checksum === undefined ? {} : { checksum }),
        }),
      );
    } else local.push(posix.normalize(`/${path}`).slice(1));
  }
  return { local, files, repositories };
}

interface Pass {
  readonly work: StageWork;
  readonly draft: Draft;
  readonly copy: CopyStep;
  readonly how: AddHow;
  readonly sources: Sources;
}

/** Archives by their content, not their names; the rest is copied. */
async function addLocal(pass: Pass, unpack: boolean): Promise<void> {
  const { work, draft, copy, how, sources } = pass;
  const { host } = work.solver.input;
  const only = { ...copy, patterns: sources.local };
  if (sources.local.length === 0) {
    if (copy.contents.length > 0) await copyInto(host, draft.layers, only, how);
    return;
  }
  const context = await work.solver.input.context();
  const selections = await copy.source.select(sources.local, { exclude: copy.exclude });
  const archives: SelectedSource[] = [];
  const rest: Selection[] = [];
  for (const selection of selections) {
    const plain: SelectedSource[] = [];
    for (const match of selection.matches) {
      const isArchive =
        unpack && match.entry.type === 'file' && (await isArchiveAt(context.openFile(match.path)));
      (isArchive ? archives : plain).push(match);
    }
    if (plain.length > 0) rest.push({ ...selection, matches: plain });
  }
  if (rest.length > 0 || copy.contents.length > 0) await writeSelections(host, draft.layers, only, rest, how);
  for (const [at, match] of archives.entries()) {
    const directory = scratchDirectory(how, `archive-${at}`);
    const fd = context.openFile(match.path);
    await unpackBytes({
      bytes: createReadStream('', { fd, start: 0 }),
      directory,
      unpacker: unpackProgram(),
      what: match.asNamed,
      signal: how.signal,
    });
    await copyTree(pass, directory);
  }
}

async function isArchiveAt(fd: number): Promise<boolean> {
  try {
    // By a descriptor of its own: the stream that reads it closes what it has.
    return await isArchiveFile(`/proc/self/fd/${fd}`);
  } finally {
    closeSync(fd);
  }
}

/** A download is for root alone, as Docker has it. */
async function addFile(pass: Pass, file: RemoteFile, at: number, unpack: boolean): Promise<void> {
  const { work, draft, copy, how } = pass;
  if (unpack && (await isArchiveFile(file.file))) {
    const directory = scratchDirectory(how, `download-${at}`);
    const bytes = createReadStream(file.file);
    await unpackBytes({ bytes, directory, unpacker: unpackProgram(), what: file.name, signal: how.signal });
    await copyTree(pass, directory);
    return;
  }
  const { name, mtimeMs } = file;
  const data = await readFile(file.file);
  const contents = [{ name, data, mode: 0o600, mtimeMs }];
  await copyInto(work.solver.input.host, draft.layers, { ...copy, patterns: [], contents }, how);
}

async function addRepository(
  pass: Pass,
  source: GitSource & { readonly commit: string },
  at: number,
  keepGitDir: boolean,
): Promise<void> {
  const { env } = pass.work.solver.input.host;
  const { directory } = await checkoutGit({
    source: { ...source, checksum: source.commit, keepGitDir },
    directory: scratchDirectory(pass.how, `repository-${at}`),
    env,
    signal: pass.how.signal,
  });
  await copyTree(pass, directory, { uid: 0, gid: 0 });
}

/** What is in a directory of ours goes to the destination, which is one, too. */
async function copyTree(pass: Pass, directory: string, owner = pass.copy.owner): Promise<void> {
  const { work, draft, copy, how } = pass;
  const destination = copy.destination.endsWith('/') ? copy.destination : `${copy.destination}/`;
  const source = layerSource([directory], how.signal);
  await copyInto(
    work.solver.input.host,
    draft.layers,
    {
      ...copy,
      source,
      patterns: ['/'],
      contents: [],
      destination,
      ...(owner === undefined ? {} : { owner }),
    },
    how,
  );
}

function scratchDirectory({ scratch }: AddHow, name: string): string {
  const directory = join(scratch, name);
  mkdirSync(directory, { recursive: true, mode: 0o755 });
  return directory;
}
