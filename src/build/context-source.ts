import { createHash } from 'node:crypto';
import { createReadStream, mkdirSync, realpathSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { errorCode, TinyrunError } from '../errors.ts';
import { type Bytes, looksLikeArchive, peek, unpackBytes } from './archive.ts';
import { checkoutGit } from './git-checkout.ts';
import { type GitSource, parseGitSource } from './git-url.ts';
import { isHttpUrl, remoteFile } from './remote-file.ts';
import { makeScratch } from './scratch.ts';
import type { SourceHost } from './source-host.ts';

/** Where a context's files are, before it is known what is ignored. */
export interface ContextFiles {
  /** Absolute. */
  readonly directory: string;
  /** The user's own directory: its links may lead a Dockerfile elsewhere. Else a stranger made it. */
  readonly own: boolean;
  /** Instead of files: there is nothing but this Dockerfile. */
  readonly dockerfile?: string;
  readonly statCacheFile?: string;
  readonly release?: () => void;
}

/** Of a Dockerfile. */
const TEXT_MAX = 16 * 1024 * 1024;
/** Enough for a tar's first header. */
const HEAD = 512;

/**
 * The context of a command line: `-` (a tar or a Dockerfile on standard input), a directory, a git repository, the address of
 * a tar or of a Dockerfile.
 */
export async function openContextFiles(text: string, host: SourceHost): Promise<ContextFiles> {
  if (text === '-') return await fromBytes(standardInput(host), host, 'the build context');
  const local = resolve(host.cwd, text);
  const kind = statSync(local, { throwIfNoEntry: false });
  if (kind?.isDirectory() === true) return ownDirectory(local, host);
  const git = parseGitSource(text);
  if (git !== undefined) return await fromGit(git, host);
  if (isHttpUrl(text)) {
    const { file } = await remoteFile({ url: text, ...downloads(host) });
    return await fromBytes(createReadStream(file), host, `"${text}"`);
  }
  const state = kind === undefined ? 'not found' : 'is not a directory';
  throw new TinyrunError('not_found', `unable to prepare context: path ${JSON.stringify(text)} ${state}`);
}

export function standardInput({ stdin }: SourceHost): Bytes {
  if (stdin !== undefined) return stdin;
  throw new TinyrunError('invalid', 'Cannot read the build context from standard input: there is none');
}

function ownDirectory(directory: string, { paths }: SourceHost): ContextFiles {
  const real = realpathSync(directory);
  const hash = createHash('sha256').update(real).digest('hex');
  return { directory: real, own: true, statCacheFile: paths.contextStats(hash) };
}

function downloads(host: SourceHost): {
  cacheDirectory: string;
  env: SourceHost['env'];
  signal?: AbortSignal;
} {
  const { paths, env, signal } = host;
  return { cacheDirectory: paths.buildDownloads, env, ...(signal === undefined ? {} : { signal }) };
}

async function fromBytes(bytes: Bytes, host: SourceHost, what: string): Promise<ContextFiles> {
  const { head, all } = await peek(bytes, HEAD);
  const { directory, release } = makeScratch(host.paths.buildScratch);
  try {
    const tree = join(directory, 'tree');
    mkdirSync(tree, { mode: 0o755 });
    if (!looksLikeArchive(head))
      return { directory: tree, own: false, dockerfile: await readText(all), release };
    const { unpacker, signal } = host;
    await unpackBytes({
      bytes: all,
      directory: tree,
      unpacker,
      what,
      ...(signal === undefined ? {} : { signal }),
    });
    return { directory: tree, own: false, release };
  } catch (error) {
    release();
    throw error;
  }
}

async function fromGit(source: GitSource, host: SourceHost): Promise<ContextFiles> {
  const { directory, release } = makeScratch(host.paths.buildScratch);
  try {
    const { env, signal, onLog, keepGitDir } = host;
    const checkout = await checkoutGit({
      source: keepGitDir === true ? { ...source, keepGitDir } : source,
      directory,
      env,
      ...(signal === undefined ? {} : { signal }),
      ...(onLog === undefined ? {} : { onLog }),
    });
    return { directory: checkout.directory, own: false, release };
  } catch (error) {
    release();
    throw error;
  }
}

/** A Dockerfile from a stream. */
export async function readText(bytes: Bytes): Promise<string> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of bytes) {
    size += chunk.byteLength;
    if (size > TEXT_MAX) throw new TinyrunError('invalid', 'the Dockerfile is larger than 16 MiB');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** The text at an http address. */
export async function fetchText(url: string, host: SourceHost): Promise<string> {
  const { file } = await remoteFile({ url, maxBytes: TEXT_MAX, ...downloads(host) });
  return await readText(createReadStream(file));
}

/** Whether an error says that there is no such file. */
export function isMissing(error: unknown): boolean {
  const code = errorCode(error);
  return code === 'ENOENT' || code === 'ENOTDIR';
}
