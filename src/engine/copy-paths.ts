import { lstatSync, readlinkSync, realpathSync, statSync } from 'node:fs';
import { errorCode, TinyrunError } from '../errors.ts';
import { reportFields, runReporting } from '../image/report-process.ts';
import { packProgram } from '../native/library.ts';
import type { ContainerFiles } from './container-files.ts';
import type { Container } from './containers.ts';
import {
  absolutePath,
  baseOf,
  type CopyDestination,
  type CopySource,
  meansDirectory,
  parentOf,
} from './copy-rules.ts';

/** How one run of a native program gets at a path. */
export interface Access extends Disposable {
  /** @param number which descriptor of the program's the first of `fds` is */
  options(number: number): readonly string[];
  readonly fds: readonly number[];
  /** Below the root that the options make. */
  readonly path: string;
}

/** The host or a container, as one side of a copy. */
export interface PathSide {
  source(path: string, follow: boolean): Promise<CopySource>;
  /** A link that the path names is followed: what it leads to is what is written. */
  destination(path: string): Promise<CopyDestination>;
  reading(path: string): Access;
  writing(directory: string): Access;
  readonly readonlyMessage: string;
}

export function containerSide({ name, record }: Container, files: ContainerFiles): PathSide {
  const stat = async (path: string): Promise<PathStat | undefined> => statIn(files, path);
  const access = (how: 'read' | 'write', path: string): Access => {
    const { fd, options, close } = files.open(how);
    return { options, fds: [fd], path, [Symbol.dispose]: close };
  };
  const missing = (path: string): TinyrunError =>
    new TinyrunError('not_found', `Could not find the file ${path} in container ${name}`);
  return {
    readonlyMessage: record.options.readonlyRootfs
      ? 'container rootfs is marked read-only'
      : 'mounted volume is marked read-only',
    source: async (path, follow) => {
      const found = await stat(path);
      if (found === undefined) throw missing(path);
      const type = follow ? found.end : found.type;
      if (type === 'missing') throw missing(path);
      return { path, isDirectory: type === 'directory' };
    },
    destination: async (path) => {
      const found = await stat(path);
      if (found !== undefined) {
        const { type, end, endPath } = found;
        const target = type === 'symlink' ? absolutePath(endPath, '/') : path;
        return { path: target, exists: end !== 'missing', isDirectory: end === 'directory' };
      }
      const parent = await stat(`${parentOf(path)}/`);
      if (parent === undefined) throw missing(parentOf(path));
      return { path, exists: false, isDirectory: false };
    },
    reading: (path) => access('read', path),
    writing: (directory) => access('write', directory),
  };
}

interface PathStat {
  readonly type: string;
  /** Of what a link leads to, else the same; `missing`. */
  readonly end: string;
  /** Where a link leads. */
  readonly endPath: string;
}

/** Undefined where there is nothing. @throws TinyrunError in Docker's words where a file is taken for a directory */
async function statIn(files: ContainerFiles, path: string): Promise<PathStat | undefined> {
  const { fd, options, close } = files.open('read');
  try {
    const args = [...options(3), '--stat', path];
    const { text, status } = await runReporting({ program: packProgram(), args, fds: [fd] });
    const { ok, type, end, endPath, errno, message } = reportFields(text);
    if (ok === true) {
      const target = Buffer.from(String(endPath), 'hex').toString('utf8');
      return { type: String(type), end: String(end), endPath: target };
    }
    if (errno === 'ENOENT') return undefined;
    if (errno === 'ENOTDIR') throw new TinyrunError('invalid', 'not a directory');
    throw new TinyrunError('invalid', `Cannot copy: ${String(message ?? `the packer ${status}`)}`);
  } finally {
    close();
  }
}

/** Paths of the host are the user's own, who may read and write there: Node looks at them. */
export function hostSide(): PathSide {
  return {
    readonlyMessage: 'Cannot copy: the destination is on a read-only file system',
    source: async (path, follow) => {
      const look = follow || meansDirectory(path) ? statSync : lstatSync;
      const isDirectory = lookAt('lstat', path, () => look(path)).isDirectory();
      if (!follow || baseOf(path) === '.') return { path, isDirectory };
      return { path: realpathSync(path), isDirectory, name: baseOf(path) };
    },
    destination: async (path) => hostDestination(path),
    // Its directory is the root: links in it are not followed, so that nothing else is read.
    reading: (path) => ({
      options: () => ['--host', hostDirectory(path)],
      fds: [],
      path: baseOf(path) === '.' ? '/' : `/${baseOf(path)}`,
      [Symbol.dispose]: () => {},
    }),
    writing: (directory) => ({
      options: () => ['--host', directory],
      fds: [],
      path: '/',
      [Symbol.dispose]: () => {},
    }),
  };
}

/** Of `DIR/.` the directory itself. */
function hostDirectory(path: string): string {
  return baseOf(path) === '.' ? absolutePath(path.replace(/\/\.$/, ''), '/') : parentOf(path);
}

const LINKS_MAX = 10;

/** @throws TinyrunError `invalid` in Docker's words where not even its directory is there */
function hostDestination(typed: string): CopyDestination {
  let path = typed;
  for (let links = 0; ; links += 1) {
    const found = lstatSync(path, { throwIfNoEntry: false });
    if (found === undefined) break;
    if (!found.isSymbolicLink()) {
      if (!found.isDirectory() && !found.isFile()) {
        throw new TinyrunError(
          'invalid',
          `invalid output path: "${typed}" must be a directory or a regular file`,
        );
      }
      return { path, exists: true, isDirectory: found.isDirectory() };
    }
    if (links === LINKS_MAX) throw new TinyrunError('invalid', `too many symlinks in "${typed}"`);
    path = absolutePath(readlinkSync(path), parentOf(path));
  }
  const parent = parentOf(path);
  if (statSync(parent, { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw new TinyrunError('invalid', `invalid output path: directory "${parent}" does not exist`);
  }
  return { path, exists: false, isDirectory: false };
}

function lookAt<T>(call: string, path: string, look: () => T): T {
  try {
    return look();
  } catch (error) {
    const code = errorCode(error);
    if (code === 'ENOENT') throw new TinyrunError('not_found', `${call} ${path}: no such file or directory`);
    if (code === 'ENOTDIR') throw new TinyrunError('invalid', `${call} ${path}: not a directory`);
    throw error;
  }
}
