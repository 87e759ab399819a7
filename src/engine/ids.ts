import { closeSync, openSync, readSync } from 'node:fs';

/** Random bytes from the kernel. node:crypto would cost the start of every container 3 ms to load. */
export function randomBytes(length: number): Buffer {
  const fd = openSync('/dev/urandom', 'r');
  try {
    const bytes = Buffer.alloc(length);
    readSync(fd, bytes);
    return bytes;
  } finally {
    closeSync(fd);
  }
}

/**
 * A new container id: 64 hex digits whose first 12 are not all decimal, because those are the default host name, and a
 * host name of digits only is taken for a number by too many programs.
 */
export function newId(random: (length: number) => Buffer = randomBytes): string {
  for (;;) {
    const id = random(32).toString('hex');
    if (!/^[0-9]{12}/.test(id)) return id;
  }
}

/** The 12 digits that people read. */
export function shortContainerId(id: string): string {
  return id.slice(0, 12);
}
