import { errorCode, TinyrunError } from '../errors.ts';
import type { Account } from '../runtime/account.ts';
import { resolveAccount } from '../runtime/account.ts';

/** Larger passwd and group files are refused, not read: an image must not fill our memory (CVE-2024-3727 and kin). */
const LARGEST_ACCOUNT_FILE = 1024 * 1024;

/** What readInRoot() says of files that an image should not have under such a name. */
const UNREADABLE: Readonly<Record<string, string>> = {
  EINVAL: 'it is not a regular file',
  EISDIR: 'it is a directory',
  EFBIG: `it has more than ${LARGEST_ACCOUNT_FILE} bytes`,
};

/** The container's root as it will be, for reading: its own changes on top, then the layers. */
export interface ImageRoot {
  readonly directories: readonly string[];
}

/** The root of a container that runs: `/proc/<pid>/root`. */
export interface LiveRoot {
  readonly path: string;
}

/**
 * The account of `user[:group]` by the files of the image, which are opened only if they are needed and never followed out
 * of its root.
 * @throws TinyrunError `invalid` for a user or group that is not there
 */
export async function accountIn(
  root: ImageRoot | LiveRoot,
  user: string | undefined,
  groupAdd: readonly string[],
): Promise<Account> {
  const { closeFd, openDirectory, openRoot, readInRoot } = await import('../native/syscalls.ts');
  let fd: number | undefined;
  const read = (path: string): string | undefined => {
    fd ??= 'path' in root ? openDirectory(root.path) : openRoot(root.directories);
    try {
      return Buffer.from(readInRoot(fd, path, LARGEST_ACCOUNT_FILE)).toString('utf8');
    } catch (error) {
      // No such file, or none that can hold accounts: the same as in an image without one.
      const code = errorCode(error) ?? '';
      if (['ENOENT', 'ENOTDIR', 'ELOOP'].includes(code)) return undefined;
      const state = UNREADABLE[code];
      if (state === undefined) throw error;
      throw new TinyrunError('invalid', `Cannot read "${path}" of the image: ${state}`);
    }
  };
  try {
    return resolveAccount(read, user, groupAdd);
  } finally {
    if (fd !== undefined) closeFd(fd);
  }
}
