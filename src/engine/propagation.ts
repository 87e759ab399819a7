import { readFileSync, realpathSync } from 'node:fs';
import { TinyrunError } from '../errors.ts';
import type { CreateOptions } from './options.ts';

/** What the root must be for mounts to pass between a bind and its source; undefined: nothing passes. As Docker decides it. */
export function rootPropagationOf({
  mounts,
}: Pick<CreateOptions, 'mounts'>): 'shared' | 'rslave' | undefined {
  const wanted = mounts.map((mount) => (mount.type === 'bind' ? (mount.propagation ?? '') : ''));
  if (wanted.some((word) => /^r?shared$/.test(word))) return 'shared';
  return wanted.some((word) => /^r?slave$/.test(word)) ? 'rslave' : undefined;
}

/**
 * Mounts can only come out of a source that is shared, and come in from one that is shared or a slave.
 * @throws TinyrunError `invalid` in Docker's words
 */
export function checkPropagation({ mounts }: Pick<CreateOptions, 'mounts'>): void {
  for (const mount of mounts) {
    if (mount.type !== 'bind' || !/^r?(shared|slave)$/.test(mount.propagation ?? '')) continue;
    const problem = propagationProblem(
      realpathSync(mount.source),
      mount.propagation?.includes('slave') === true,
      readFileSync('/proc/self/mountinfo', 'utf8'),
    );
    if (problem !== undefined) throw new TinyrunError('invalid', `path ${mount.source} ${problem}`);
  }
}

/** @param mountinfo `/proc/self/mountinfo`, see proc_pid_mountinfo(5) */
export function propagationProblem(path: string, slave: boolean, mountinfo: string): string | undefined {
  let point = '';
  let optional: string[] = [];
  for (const line of mountinfo.split('\n')) {
    const [fields = ''] = line.split(' - ');
    const [, , , , escaped = '', , ...rest] = fields.split(' ');
    const mountPoint = escaped.replace(/\\(\d{3})/g, (_, octal: string) =>
      String.fromCharCode(Number.parseInt(octal, 8)),
    );
    const isAbove = mountPoint === '/' || path === mountPoint || path.startsWith(`${mountPoint}/`);
    // The last of those that lie on each other is the one on top.
    if (mountPoint === '' || !isAbove || mountPoint.length < point.length) continue;
    point = mountPoint;
    optional = rest;
  }
  const has = (word: string): boolean => optional.some((field) => field.startsWith(`${word}:`));
  if (has('shared') || (slave && has('master'))) return undefined;
  return `is mounted on ${point} but it is not a shared ${slave ? 'or slave ' : ''}mount`;
}
