import { spawn } from 'node:child_process';
import { errorCode, TinyrunError } from '../errors.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

export interface GitRun {
  readonly directory?: string;
  readonly env: Environment;
  /** A directory of the build: nothing in the user's home decides. */
  readonly home: string;
  readonly signal?: AbortSignal;
  readonly onLog?: (chunk: Uint8Array) => void;
}

/** What passes from the user's environment: how to reach servers, and who one is there. */
const PASSED = [
  'SSH_AUTH_SOCK',
  'SSL_CERT_FILE',
  'SSL_CERT_DIR',
  'GIT_SSL_CAINFO',
  ...['HTTP_PROXY', 'HTTPS_PROXY', 'ALL_PROXY', 'NO_PROXY'].flatMap((name) => [name, name.toLowerCase()]),
];

/**
 * A repository is foreign: no hooks, no programs that its configuration or ours could name, no other protocols than those of
 * contexts (`ext::` runs commands, `file://` reads the host, also from .gitmodules), no bundles, no prompts.
 */
const HARDENING: Readonly<Record<string, string>> = {
  'core.hooksPath': '/dev/null',
  'core.fsmonitor': 'false',
  'core.symlinks': 'true',
  'core.protectNTFS': 'true',
  'core.protectHFS': 'true',
  'core.attributesFile': '/dev/null',
  'init.templateDir': '',
  'init.defaultBranch': 'main',
  'protocol.allow': 'never',
  'protocol.http.allow': 'always',
  'protocol.https.allow': 'always',
  'protocol.git.allow': 'always',
  'protocol.ssh.allow': 'always',
  'transfer.bundleURI': 'false',
  'fetch.recurseSubmodules': 'false',
  'submodule.recurse': 'false',
  'credential.helper': '',
  'http.followRedirects': 'initial',
  'gc.auto': '0',
  'advice.detachedHead': 'false',
};

const OUTPUT_MAX = 4 * 1024 * 1024;

/**
 * Runs git of the host; only what comes before `--` may be an option, and remotes and refs were checked (git-url.ts).
 * @returns its output
 */
export async function runGit(args: readonly string[], run: GitRun): Promise<string> {
  run.signal?.throwIfAborted();
  const config = Object.entries(HARDENING).flatMap(([key, value]) => ['-c', `${key}=${value}`]);
  const child = spawn('git', [...config, ...args], {
    cwd: run.directory ?? run.home,
    env: environment(run),
    stdio: ['ignore', 'pipe', 'pipe'],
    // Its helpers (ssh, git-remote-https) are killed with it.
    detached: true,
  });
  const kill = (): void => {
    if (child.pid !== undefined) killGroup(child.pid);
  };
  run.signal?.addEventListener('abort', kill, { once: true });
  let output = '';
  let errors = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    if (output.length < OUTPUT_MAX) output += chunk;
  });
  child.stderr.on('data', (chunk: Uint8Array) => {
    if (errors.length < 16_384) errors += Buffer.from(chunk).toString('utf8');
    run.onLog?.(chunk);
  });
  try {
    const status = await new Promise<number | null>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', resolve);
    });
    run.signal?.throwIfAborted();
    if (status === 0) return output;
  } catch (error) {
    throw errorCode(error) === 'ENOENT' ? noGit(error) : error;
  } finally {
    run.signal?.removeEventListener('abort', kill);
  }
  throw new TinyrunError('unavailable', `git ${args[0] ?? ''} failed: ${lastLines(errors)}`);
}

function environment({ env, home }: GitRun): Record<string, string> {
  const passed = PASSED.flatMap((name) => {
    const value = env[name];
    return value === undefined || value === '' ? [] : [[name, value] as const];
  });
  return {
    PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    ...Object.fromEntries(passed),
    HOME: home,
    XDG_CONFIG_HOME: home,
    LC_ALL: 'C',
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: '/dev/null',
    GIT_TERMINAL_PROMPT: '0',
    GIT_ASKPASS: '/bin/false',
    SSH_ASKPASS: '/bin/false',
    GIT_ALLOW_PROTOCOL: 'http:https:ssh:git',
    GIT_PROTOCOL_FROM_USER: '0',
    GIT_LFS_SKIP_SMUDGE: '1',
    GIT_SSH_COMMAND: 'ssh -F /dev/null -o BatchMode=yes',
  };
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    if (errorCode(error) !== 'ESRCH') throw error;
  }
}

function lastLines(text: string): string {
  const lines = text
    .trim()
    .split('\n')
    .filter((line) => line !== '');
  return lines.slice(-3).join('; ').slice(0, 600);
}

function noGit(cause: unknown): TinyrunError {
  return new TinyrunError('unsupported', 'Cannot read a git repository: there is no program "git"', {
    hint: 'Install git, or give a directory as the context',
    cause,
  });
}
