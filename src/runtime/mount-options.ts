import { TinyrunError } from '../errors.ts';
import type { MountFlag, Propagation } from '../native/plan.ts';

/** The options of one mount of config.json, taken apart. */
export interface ParsedOptions {
  readonly bind: boolean;
  readonly recursive: boolean;
  readonly flags: readonly MountFlag[];
  /** `flags` hold for every mount below, too (`rro` and its kin). */
  readonly recursiveFlags: boolean;
  readonly propagation?: Propagation;
  /** For the file system itself, comma-separated. */
  readonly data: string;
}

/** What each word sets or clears; the second of a pair undoes the first, the last one wins. */
const FLAG_WORDS: Readonly<Record<string, readonly [MountFlag, boolean]>> = {
  ro: ['ro', true],
  rw: ['ro', false],
  nosuid: ['nosuid', true],
  suid: ['nosuid', false],
  nodev: ['nodev', true],
  dev: ['nodev', false],
  noexec: ['noexec', true],
  exec: ['noexec', false],
  noatime: ['noatime', true],
  atime: ['noatime', false],
  relatime: ['relatime', true],
  norelatime: ['relatime', false],
  nodiratime: ['nodiratime', true],
  diratime: ['nodiratime', false],
  strictatime: ['strictatime', true],
  nostrictatime: ['strictatime', false],
  nosymfollow: ['nosymfollow', true],
  symfollow: ['nosymfollow', false],
};

/** `rro` and so on: the same for all mounts below. */
const RECURSIVE: ReadonlySet<string> = new Set(Object.keys(FLAG_WORDS).map((word) => `r${word}`));

const PROPAGATIONS: ReadonlySet<string> = new Set<Propagation>([
  'private',
  'rprivate',
  'slave',
  'rslave',
  'shared',
  'rshared',
  'unbindable',
  'runbindable',
]);

/** Words without an effect of their own on Linux today, or that say what is the case anyhow. */
const IGNORED: ReadonlySet<string> = new Set([
  'defaults',
  'async',
  'loud',
  'silent',
  'nomand',
  'mand',
  'nolazytime',
  'noiversion',
  'iversion',
]);

/** Words that would need what the plan has no op for. */
const UNSUPPORTED: ReadonlySet<string> = new Set(['remount', 'idmap', 'ridmap', 'tmpcopyup']);

/**
 * Sorts `mounts[].options` into flags, propagation and file system data.
 * @throws TinyrunError `unsupported` for an option that cannot be honoured
 * @see https://github.com/opencontainers/runtime-spec/blob/main/config.md#linux-mount-options
 */
export function parseMountOptions(options: readonly string[], destination: string): ParsedOptions {
  const flags = new Set<MountFlag>();
  const data: string[] = [];
  let bind = false;
  let recursive = false;
  let recursiveFlags = false;
  let propagation: Propagation | undefined;
  for (const option of options) {
    const own = FLAG_WORDS[option];
    const word = own ?? (RECURSIVE.has(option) ? FLAG_WORDS[option.slice(1)] : undefined);
    if (word !== undefined) {
      const [flag, on] = word;
      if (on) flags.add(flag);
      else flags.delete(flag);
      if (own === undefined) recursiveFlags = true;
    } else if (option === 'bind' || option === 'rbind') {
      bind = true;
      recursive = option === 'rbind';
    } else if (isPropagation(option)) {
      propagation = option;
    } else if (UNSUPPORTED.has(option)) {
      throw new TinyrunError(
        'unsupported',
        `Cannot mount "${destination}": the option "${option}" is not supported`,
      );
    } else if (!IGNORED.has(option)) {
      data.push(option);
    }
  }
  return {
    bind,
    recursive,
    flags: [...flags],
    recursiveFlags,
    data: data.join(','),
    ...(propagation === undefined ? {} : { propagation }),
  };
}

export function isPropagation(option: string): option is Propagation {
  return PROPAGATIONS.has(option);
}

const TMPFS_VALUES: ReadonlySet<string> = new Set([
  'size',
  'mode',
  'uid',
  'gid',
  'nr_inodes',
  'nr_blocks',
  'mpol',
]);

/**
 * `--tmpfs PATH:OPTIONS` merged over Docker's defaults; of options that contradict each other the last one stays.
 * @throws TinyrunError `invalid` with Docker's words for an option that tmpfs does not have
 */
export function tmpfsOptions(requested: readonly string[]): string[] {
  const merged: string[] = [];
  const taken = new Set<string>();
  const all = ['noexec', 'nosuid', 'nodev', 'rprivate', ...requested.filter((option) => option !== '')];
  for (const option of all.reverse()) {
    if (IGNORED.has(option)) continue;
    const key = tmpfsKey(option);
    if (taken.has(key)) continue;
    taken.add(key);
    merged.unshift(option);
  }
  return merged;
}

/** What an option decides, so that `exec` and `noexec` meet. */
function tmpfsKey(option: string): string {
  if (isPropagation(option)) return 'propagation';
  const word = FLAG_WORDS[option];
  if (word !== undefined) return word[0];
  const [name = '', value] = option.split('=', 2);
  if (value === undefined || !TMPFS_VALUES.has(name)) {
    throw new TinyrunError('invalid', `invalid tmpfs option ["${option.replace('=', '" "')}"]`);
  }
  return name;
}
