import { closeSync, openSync } from 'node:fs';
import { basename, dirname } from 'node:path';

const SOCKET_PATH_MAX = 107;

/** A path that fits into the 107 bytes of a socket's address, through its directory where it does not. */
export function shortAddress(path: string): { path: string; close: () => void } {
  if (Buffer.byteLength(path) <= SOCKET_PATH_MAX) return { path, close: () => {} };
  const fd = openSync(dirname(path), 'r');
  return { path: `/proc/self/fd/${fd}/${basename(path)}`, close: () => closeSync(fd) };
}
