import { basename, dirname } from 'node:path';
import { closeFd, openDirectory, readInRoot, type StatInRoot, statInRoot } from '../native/syscalls.ts';

/** Where files of the image come from; a table in tests. */
export interface ImageFiles {
  /** @throws an error with an `errno` such as ENOENT */
  stat(path: string): StatInRoot;
  read(path: string): Uint8Array;
}

/** A program larger than this is not looked into: what it needs would be far behind its head anyhow. */
const READ_MAX = 64 * 1024 * 1024;

export interface Bind {
  /** On the host. */
  readonly source: string;
  /** In the container. */
  readonly target: string;
}

/** The image, and what was bound over it: a script is often mounted from the host. */
export function filesOf(rootFd: number, binds: readonly Bind[] = []): ImageFiles {
  const within = <T>(path: string, ask: (root: number, path: string) => T): T => {
    const bind = binds.findLast(({ target }) => path === target || path.startsWith(`${target}/`));
    if (bind === undefined) return ask(rootFd, path);
    // A bound file has no directory of its own to be the root: its parent's on the host is.
    const below = path.slice(bind.target.length);
    const fd = openDirectory(below === '' ? dirname(bind.source) : bind.source);
    try {
      return ask(fd, below === '' ? `/${basename(bind.source)}` : below);
    } finally {
      closeFd(fd);
    }
  };
  return {
    stat: (path) => within(path, statInRoot),
    read: (path) => within(path, (fd, inside) => readInRoot(fd, inside, READ_MAX)),
  };
}
