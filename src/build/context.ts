import type { Digest } from '../oci/digest.ts';

/** One name of a context: what COPY can see. Links are kept, never followed by the walk. */
export interface ContextEntry {
  /** Relative to the context's root, `/` between, no leading slash; the root itself is `''`. */
  readonly path: string;
  readonly type: 'directory' | 'file' | 'symlink' | 'other';
  /** Permission bits only (07777). */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  /** Milliseconds, whole; part of layers, not of digests. */
  readonly mtimeMs: number;
  /** Of a symlink. */
  readonly target?: string;
}

export interface SelectOptions {
  /** `--exclude` patterns, ignore-file grammar: relative to each source's directory, or the name of a source itself. */
  readonly exclude?: readonly string[];
  /** `--parents`: `**` in patterns, `/./` as the pivot; `asNamed` is relative to it and holds the parents to be made. */
  readonly parents?: boolean;
}

/** What one source pattern of COPY/ADD names. */
export interface Selection {
  /** The pattern as written, expanded. */
  readonly pattern: string;
  readonly matches: readonly SelectedSource[];
}

export interface SelectedSource {
  /** Path of the match after links were resolved inside the context (as BuildKit follows links in COPY sources). */
  readonly path: string;
  /** The path as matched, for the name of a copied file and `--parents`. */
  readonly asNamed: string;
  readonly entry: ContextEntry;
  /** With a directory: everything below it, directories before their content, excludes applied; without itself. */
  readonly below: readonly ContextEntry[];
}

/**
 * A directory of files that a build may read: the build context, a named context, a git checkout, an unpacked tar. The
 * walk happens once, at the first need. Nothing outside of `directory` is ever reached through it.
 */
export interface BuildContext {
  /** Absolute path on the host. Files are read by openFile only: it refuses what has changed since the walk. */
  readonly directory: string;
  /** After .dockerignore; directories before what is in them, the names of each sorted. */
  entries(): Promise<readonly ContextEntry[]>;
  entry(path: string): Promise<ContextEntry | undefined>;
  /**
   * The sources of one COPY or ADD. Wildcards are Go's filepath.Match; without a match they select nothing (BuildKit).
   * @throws TinyrunError not_found, in BuildKit's words (`"/x": not found`), with the hint that .dockerignore hides it
   */
  select(patterns: readonly string[], options?: SelectOptions): Promise<readonly Selection[]>;
  /**
   * A digest of what `select` gives for the patterns: over path, type, mode, content (never times; owners not, because COPY
   * sets them). Files that have not changed since an earlier build are not read (stat cache).
   */
  digest(patterns: readonly string[], options?: SelectOptions): Promise<Digest>;
  /**
   * Files that were digested and have changed since: what was copied of them may not be what the digest says, so it must not
   * be found again by that.
   */
  changed(): readonly string[];
  /** sha256 of one file's content, by the stat cache. */
  fileDigest(path: string): Promise<Digest>;
  /** A descriptor open for reading, the caller's to close; no link is followed at any part of the path. */
  openFile(path: string): number;
  /** Whether .dockerignore hides the path, for the check CopyIgnoredFile and hints. */
  ignored(path: string): boolean;
  /** Saves the stat cache; removes the scratch directory of a tar or git context. */
  close(): Promise<void>;
}
