import { readFileSync, statSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { errorCode, TinyrunError } from '../errors.ts';
import { closeFd, openDirectory, readInRoot } from '../native/syscalls.ts';
import { insideRoot } from './clean-path.ts';
import type { BuildContext } from './context.ts';
import { directoryContext } from './context-directory.ts';
import {
  type ContextFiles,
  fetchText,
  isMissing,
  openContextFiles,
  readText,
  standardInput,
} from './context-source.ts';
import { type IgnoreMatcher, parseIgnore } from './ignore.ts';
import { isHttpUrl } from './remote-file.ts';
import type { SourceHost } from './source-host.ts';

export interface BuildInput {
  readonly context: BuildContext;
  readonly dockerfile: {
    readonly text: string;
    /** For messages: its last name, `-` for standard input. */
    readonly fileName: string;
  };
  /** What .dockerignore says; for the check CopyIgnoredFile. */
  readonly ignore?: IgnoreMatcher;
}

const DEFAULT_NAME = 'Dockerfile';
const IGNORE = '.dockerignore';
const TEXT_MAX = 16 * 1024 * 1024;

/**
 * What `build [-f FILE] CONTEXT` names: the context, the Dockerfile, and what is ignored (`FILE.dockerignore` before the
 * context's own). The context is the caller's to close.
 * @param file `-`, a path of the host (in a foreign context: of the context), or an address
 */
export async function openBuildInput(
  context: string,
  file: string | undefined,
  host: SourceHost,
): Promise<BuildInput> {
  if (context === '-' && file === '-')
    throw new TinyrunError(
      'invalid',
      "invalid argument: can't use stdin for both build context and dockerfile",
    );
  const files = await openContextFiles(context, host);
  try {
    const found = await findDockerfile(files, file, host);
    const ignore = ignoreOf(files, found.ignoreFile);
    const { statCacheFile, release } = files;
    return {
      context: directoryContext({
        directory: files.directory,
        ...(ignore === undefined ? {} : { ignore }),
        ...(statCacheFile === undefined ? {} : { statCacheFile }),
        ...(host.signal === undefined ? {} : { signal: host.signal }),
        ...(release === undefined ? {} : { release }),
      }),
      dockerfile: { text: found.text, fileName: found.fileName },
      ...(ignore === undefined ? {} : { ignore }),
    };
  } catch (error) {
    files.release?.();
    throw error;
  }
}

/** A named context that is files: a directory, a repository, a tar; its own .dockerignore counts. */
export async function openNamedFiles(value: string, host: SourceHost): Promise<BuildContext> {
  const { stdin: _, ...without } = host;
  const files = await openContextFiles(value, without);
  const ignore = ignoreOf(files, undefined);
  const { statCacheFile, release } = files;
  return directoryContext({
    directory: files.directory,
    ...(ignore === undefined ? {} : { ignore }),
    ...(statCacheFile === undefined ? {} : { statCacheFile }),
    ...(host.signal === undefined ? {} : { signal: host.signal }),
    ...(release === undefined ? {} : { release }),
  });
}

interface Found {
  readonly text: string;
  readonly fileName: string;
  /** Beside the Dockerfile: a path of the host for an own context, else of the context. */
  readonly ignoreFile?: string;
}

async function findDockerfile(
  files: ContextFiles,
  file: string | undefined,
  host: SourceHost,
): Promise<Found> {
  if (file === '-') return { text: await readText(standardInput(host)), fileName: '-' };
  if (files.dockerfile !== undefined) {
    if (file !== undefined)
      throw new TinyrunError(
        'invalid',
        'ambiguous Dockerfile source: both stdin and flag correspond to Dockerfiles',
      );
    return { text: files.dockerfile, fileName: DEFAULT_NAME };
  }
  if (file !== undefined && isHttpUrl(file))
    return { text: await fetchText(file, host), fileName: nameOf(file) };
  if (!files.own) {
    const path = insideRoot(file ?? DEFAULT_NAME);
    const text = readInside(files.directory, path) ?? missing(path);
    return { text, fileName: basename(path), ignoreFile: `${path}${IGNORE}` };
  }
  const path = file === undefined ? join(files.directory, DEFAULT_NAME) : resolve(host.cwd, file);
  // buildx takes the lower case, too.
  const names = file === undefined ? [path, join(files.directory, DEFAULT_NAME.toLowerCase())] : [path];
  for (const name of names) {
    const text = readOwn(name);
    if (text !== undefined) return { text, fileName: basename(name), ignoreFile: `${name}${IGNORE}` };
  }
  return missing(file ?? DEFAULT_NAME);
}

function nameOf(url: string): string {
  return basename(new URL(url).pathname) || DEFAULT_NAME;
}

function missing(path: string): never {
  throw new TinyrunError('not_found', `failed to read dockerfile: open ${path}: no such file or directory`, {
    hint: 'Name it with -f, or give the directory that has it',
  });
}

function ignoreOf({ directory, own }: ContextFiles, beside: string | undefined): IgnoreMatcher | undefined {
  const read = (path: string): string | undefined =>
    own ? readOwn(path) : readInside(directory, insideRoot(path));
  const text =
    (beside === undefined ? undefined : read(beside)) ?? read(own ? join(directory, IGNORE) : IGNORE);
  return text === undefined ? undefined : parseIgnore(text);
}

/** The user's own file: where it links to is the user's matter, too. */
function readOwn(path: string): string | undefined {
  try {
    const stat = statSync(path);
    if (stat.isDirectory())
      throw new TinyrunError('invalid', `failed to read dockerfile: ${path} is a directory`);
    if (stat.size > TEXT_MAX) throw new TinyrunError('invalid', `${path} is larger than 16 MiB`);
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/**
 * A file of a foreign context, with the context as its root: a Dockerfile that links to /etc/shadow names a file of the
 * context (CVE-2026-44517).
 */
function readInside(directory: string, path: string): string | undefined {
  const fd = openDirectory(directory);
  try {
    return Buffer.from(readInRoot(fd, `/${path}`, TEXT_MAX)).toString('utf8');
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw new TinyrunError(
      'invalid',
      `Cannot read "${path}" of the build context: ${errorCode(error) ?? error}`,
      {
        cause: error,
      },
    );
  } finally {
    closeFd(fd);
  }
}
