import type { Bytes } from './archive.ts';
import type { Environment } from './git-program.ts';

/** What opening contexts and sources needs of the machine: the engine's matter, so that nothing here looks around. */
export interface SourceHost {
  /** Absolute; relative paths of the command line begin here. */
  readonly cwd: string;
  /** For proxies, authorities and the ssh agent. */
  readonly env: Environment;
  /** Absent where the command has none. */
  readonly stdin?: Bytes;
  /** The program tinyrun-unpack. */
  readonly unpacker: string;
  readonly paths: {
    readonly buildScratch: string;
    readonly buildDownloads: string;
    contextStats(hash: string): string;
  };
  /** Of a repository that is the context: `.git` stays (BUILDKIT_CONTEXT_KEEP_GIT_DIR). */
  readonly keepGitDir?: boolean;
  readonly signal?: AbortSignal;
  /** What git and downloads tell while they work. */
  readonly onLog?: (chunk: Uint8Array) => void;
}
