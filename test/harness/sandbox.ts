import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { newTraces, ownStore, traces } from './leaks.ts';

const top = join(import.meta.dirname, '..', '..');
export const BINARY = join(top, 'bin', 'tinyrun');

export interface Outcome {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandOptions {
  readonly input?: string | Uint8Array;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Milliseconds after which the command is killed and the test fails. */
  readonly timeout?: number;
}

/** A store of its own in a temporary directory, and the real program working on it. */
export interface Sandbox {
  readonly directory: string;
  readonly root: string;
  readonly runRoot: string;
  readonly env: Readonly<Record<string, string>>;
  /** The program's path. */
  readonly binary: string;
  /** Runs a command to its end. */
  run(args: readonly string[], options?: CommandOptions): Promise<Outcome>;
  /** Runs a command that must succeed, and gives its output without the last newline. */
  ok(args: readonly string[], options?: CommandOptions): Promise<string>;
  /** Runs a program of the host, not tinyrun. */
  host(command: readonly [string, ...string[]], options?: CommandOptions): Promise<Outcome>;
  /** Starts a command and hands over its process. */
  start(args: readonly string[], options?: CommandOptions): ChildProcessWithoutNullStreams;
  /** Removes every container, the networks, the store; throws where anything is left on the machine. */
  dispose(): Promise<void>;
}

/** @param registry `127.0.0.1:port` that stands in for docker.io */
export function makeSandbox(registry?: string): Sandbox {
  const before = traces();
  const directory = mkdtempSync(join(tmpdir(), 'tinyrun-test-'));
  const root = join(directory, 'root');
  const runRoot = join(directory, 'run');
  ownStore(root);
  const registries = join(directory, 'registries.conf');
  writeFileSync(
    registries,
    registry === undefined
      ? ''
      : `[[registry]]\nprefix = "docker.io"\nlocation = "${registry}"\ninsecure = true\n`,
  );
  const env: Record<string, string> = {
    PATH: process.env.PATH ?? '/usr/sbin:/usr/bin:/sbin:/bin',
    HOME: directory,
    TERM: 'xterm',
    TINYRUN_ROOT: root,
    TINYRUN_RUNROOT: runRoot,
    CONTAINERS_REGISTRIES_CONF: registries,
    DOCKER_CONFIG: join(directory, 'docker'),
    // Another build of the native programs, such as the one with the sanitizers.
    ...(process.env.TINYRUN_NATIVE === undefined ? {} : { TINYRUN_NATIVE: process.env.TINYRUN_NATIVE }),
  };
  const start: Sandbox['start'] = (args, options = {}) =>
    spawn(BINARY, args, { env: { ...env, ...options.env }, cwd: options.cwd ?? directory });
  const run: Sandbox['run'] = async (args, options = {}) => finish(start(args, options), args, options);
  return {
    directory,
    root,
    runRoot,
    env,
    binary: BINARY,
    start,
    run,
    host: ([program, ...args], options = {}) =>
      finish(
        spawn(program, args, { env: { ...env, ...options.env }, cwd: directory }),
        [program, ...args],
        options,
      ),
    async ok(args, options) {
      const outcome = await run(args, options);
      if (outcome.code !== 0) throw new Error(`tinyrun ${args.join(' ')}: ${show(outcome)}`);
      return outcome.stdout.replace(/\n$/, '');
    },
    async dispose() {
      const reset = await run(['system', 'reset', '-f']);
      const left = await newTraces(before);
      rmSync(directory, { recursive: true, force: true });
      if (reset.code !== 0) throw new Error(`tinyrun system reset: ${show(reset)}`);
      if (left.length > 0) throw new Error(`Left behind:\n  ${left.join('\n  ')}`);
    },
  };
}

export function show(outcome: Outcome): string {
  return `exit ${outcome.code}\n--- stdout\n${outcome.stdout}\n--- stderr\n${outcome.stderr}`;
}

function finish(
  child: ChildProcessWithoutNullStreams,
  args: readonly string[],
  options: CommandOptions,
): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    const timeout = options.timeout ?? 50_000;
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      reject(
        new Error(`tinyrun ${args.join(' ')}: still running after ${timeout} ms\n${Buffer.concat(stderr)}`),
      );
    }, timeout);
    child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
    child.stdin.on('error', () => {});
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      resolve({
        code: code ?? (signal === null ? -1 : 128),
        stdout: Buffer.concat(stdout).toString(),
        stderr: Buffer.concat(stderr).toString(),
      });
    });
    child.stdin.end(options.input ?? '');
  });
}
