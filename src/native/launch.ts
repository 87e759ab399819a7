import { closeSync, renameSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { SyscallError, TinyrunError } from '../errors.ts';
import { encodePlan, PHASES } from './encode.ts';
import { errnoName } from './errno.ts';
import { openFollowedSession } from './followed-session.ts';
import { type FailedFrame, FRAME, frameHeader, resizeFrame } from './frames.ts';
import { monitorProgram } from './library.ts';
import type { LaunchFailure, LaunchPlan, Op } from './plan.ts';
import { takeLock } from './run-lock.ts';
import { type Opening, openSession, type Session } from './session.ts';
import { shortAddress } from './socket-address.ts';
import { closeFd, memoryFile, socketPair, startMonitor, waitProcess } from './syscalls.ts';

export type { ExitRecord, OutputListener, Session } from './session.ts';

export interface LaunchInput {
  readonly plan: LaunchPlan;
  /** The monitor holds flock(LOCK_EX) on it as long as it lives. Its directory is the container's run directory. */
  readonly lockPath: string;
  /** Of `takeLock(lockPath)`, where the caller has it already; closed here, whatever happens. */
  readonly lock?: number;
  /** Where the plan's release and cleanup are kept for {@link recover}. */
  readonly teardownPath?: string;
  /** Of the terminal, to begin with. */
  readonly initialSize?: { readonly rows: number; readonly columns: number };
  /** `attach`: the session carries the container's output from its first byte. `detached`: only its exit. */
  readonly stdio: 'attach' | 'detached';
  /** The caller waits for nothing but this container: the session has `follow`, and this thread stands still until the program has started. */
  readonly followed?: boolean;
  /** What can be done while the monitor is at work; it must not throw. */
  readonly meanwhile?: () => void | Promise<void>;
}

/**
 * What the monitor does to the container's files, in `state.json`: made when the program has been executed, replaced when it
 * has ended. Times are RFC 3339 in UTC with nanoseconds.
 */
export interface StateRecord {
  readonly pid: number;
  readonly startTime: number;
  readonly monitorPid: number;
  readonly monitorStartTime: number;
  readonly startedAt: string;
  readonly finishedAt?: string;
  readonly exitCode?: number;
  readonly signal?: number;
  readonly oomKilled?: boolean;
  /** How often the monitor has started it again. */
  readonly restarts?: number;
  /** It has ended and the monitor will start it again, if that lives. */
  readonly restarting?: boolean;
  /** Why the last attempt at that failed: as {@link FailedFrame}. */
  readonly failure?: FailedFrame;
  /** Why a start failed; written by the engine. */
  readonly error?: string;
}

/** A container that could not be started. By the time it is thrown, the monitor has undone what had been done. */
export class LaunchError extends TinyrunError {
  override readonly name = 'LaunchError';
  readonly failure: LaunchFailure;
  /** What could not be done, such as `mount proc on "/proc"`. */
  readonly what: string;

  constructor(what: string, failure: LaunchFailure) {
    const cause = new SyscallError(failure.phase, what, failure.errno);
    super(cause.kind, `Cannot ${what}: ${failure.errno}`);
    this.failure = failure;
    this.what = what;
  }
}

/** As `enum tr_phase` in native/plan.h. */
const FAILING_PHASES = [...PHASES, 'clone', 'monitor'] as const;

const RUN_MONITOR = "run the container's monitor";

/**
 * Starts a container under a monitor of its own, which outlives this process.
 * @returns when its program has been executed
 * @throws LaunchError where an op of the plan failed; TinyrunError `conflict` where a monitor holds the lock
 */
export async function launch(input: LaunchInput): Promise<Session> {
  const plan = withRunFiles(input);
  const started = await startUnderLock(plan, input);
  await input.meanwhile?.();
  const opening = await (input.followed === true ? openFollowed(started) : openListening(started));
  if ('session' in opening) return opening.session;
  if ('failed' in opening) throw launchError(plan, opening.failed);
  // It was killed, and could not undo what it had done.
  if (input.teardownPath !== undefined) await recover(input.teardownPath).catch(() => {});
  throw new LaunchError(RUN_MONITOR, { phase: 'monitor', opIndex: -1, errno: 'EPIPE' });
}

async function openListening(started: Started): Promise<Opening> {
  const { Socket } = await import('node:net');
  const socket = new Socket({ fd: started.channel, readable: true, writable: true });
  return openSession(socket, () => reap(started.pid));
}

function openFollowed(started: Started): Opening {
  const opening = openFollowedSession(started.channel);
  if (!('session' in opening)) reap(started.pid);
  return opening;
}

/**
 * Joins the clients of a running container.
 * @param stdio `attach`: its output from now on, and its stdin; `detached`: only its exit
 * @throws TinyrunError `unavailable` where no monitor answers
 */
export async function attach(socketPath: string, stdio: LaunchInput['stdio'] = 'attach'): Promise<Session> {
  const { connect } = await import('node:net');
  const address = shortAddress(socketPath);
  const socket = connect(address.path);
  if (stdio === 'attach') socket.write(frameHeader(FRAME.attach, 0));
  const opening = await openSession(socket, address.close);
  if ('session' in opening) return opening.session;
  throw new TinyrunError('unavailable', `Cannot attach to "${socketPath}": no monitor answers`);
}

/**
 * Runs `release` and `cleanup` of a container whose monitor was killed. May be done twice, also at the same time.
 * @throws TinyrunError `internal` where the file is no plan or an op failed
 */
export async function recover(teardownPath: string): Promise<void> {
  const { execFile } = await import('node:child_process');
  const program = monitorProgram();
  await new Promise<void>((resolve, reject) => {
    execFile(program, ['recover', teardownPath], { env: {} }, (error) => {
      if (error === null) resolve();
      else {
        const state = error.code === 2 ? 'a step failed' : 'it is damaged';
        reject(
          new TinyrunError('internal', `Cannot recover from "${teardownPath}": ${state}`, { cause: error }),
        );
      }
    });
  });
}

interface Started {
  readonly pid: number;
  /** Our end of the socket to the monitor. */
  readonly channel: number;
}

/** The monitor's own files go last, the lock behind all others: whoever gets it finds nothing of the predecessor. */
function withRunFiles({ plan, lockPath, teardownPath }: LaunchInput): LaunchPlan {
  const files = [plan.monitor.attachSocket, teardownPath, lockPath].filter((path) => path !== undefined);
  const unlinks = files.map((path): Op => ({ op: 'unlink', path, what: `remove "${path}"` }));
  const directory = dirname(lockPath);
  const rmdir: Op = { op: 'rmdir', path: directory, what: `remove "${directory}"`, optional: true };
  return { ...plan, cleanup: [...plan.cleanup, ...unlinks, rmdir] };
}

/** All of the plan: recovery takes `release` and `cleanup` of it. */
function saveTeardown(bytes: Uint8Array, path: string): void {
  // Whole or not at all: recovery must not meet a half.
  writeFileSync(`${path}.tmp`, bytes, { mode: 0o600 });
  renameSync(`${path}.tmp`, path);
}

async function startUnderLock(plan: LaunchPlan, input: LaunchInput): Promise<Started> {
  const { lockPath, teardownPath } = input;
  const lock = input.lock ?? (await takeLock(lockPath));
  try {
    const bytes = encodePlan(plan);
    if (teardownPath !== undefined) saveTeardown(bytes, teardownPath);
    return start(bytes, input, lock);
  } catch (error) {
    // Nothing has been acquired yet.
    for (const path of [teardownPath, lockPath]) if (path !== undefined) rmSync(path, { force: true });
    throw error;
  } finally {
    // The monitor has the same open file, so the lock stays until it, too, has closed it.
    closeSync(lock);
  }
}

/** From here on it is the monitor that acts. */
function start(bytes: Uint8Array, input: LaunchInput, lock: number): Started {
  const memory = memoryFile('tinyrun-plan', bytes);
  try {
    const [ours, theirs] = socketPair();
    try {
      // Sent ahead, so that it counts from the first byte of output.
      if (input.stdio === 'attach') writeSync(ours, frameHeader(FRAME.attach, 0));
      if (input.initialSize !== undefined) {
        writeSync(ours, resizeFrame(input.initialSize.rows, input.initialSize.columns));
      }
      return { pid: startMonitor(['run'], [memory, theirs, lock]), channel: ours };
    } catch (error) {
      closeFd(ours);
      throw error;
    } finally {
      closeFd(theirs);
    }
  } finally {
    closeFd(memory);
  }
}

function launchError(plan: LaunchPlan, failed: FailedFrame): LaunchError {
  const errno = errnoName(failed.errno);
  const phase = FAILING_PHASES[failed.phase] ?? 'monitor';
  const { opIndex } = failed;
  let what = RUN_MONITOR;
  if (phase === 'clone') what = "make the container's first process";
  else if (phase !== 'monitor') what = plan[phase]?.[opIndex]?.what ?? "set up the container's first process";
  return new LaunchError(what, { phase, opIndex, errno });
}

/**
 * The monitor is our child as long as we live, so we have to reap it; libuv knows nothing of it. The socket closes a moment
 * before the process has ended.
 */
function reap(pid: number, attempt = 0): void {
  if (waitProcess(pid, false) !== undefined || attempt > 20) return;
  setTimeout(() => reap(pid, attempt + 1), 2 ** Math.min(attempt, 8)).unref();
}
