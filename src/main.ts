import { fstatSync, writeSync } from 'node:fs';
import type { Context, Input, Output, SignalName } from './cli/context.ts';
import { runProgram } from './cli/program.ts';
import { errorCode } from './errors.ts';
import { endProcess } from './native/library.ts';

/** Exit code of a program that SIGPIPE ended. */
const BROKEN_PIPE = 141;

/** The one place that touches the process: everything below gets it as a Context. */
const context: Context = {
  argv: process.argv.slice(2),
  // Beside bin/load.cjs.
  program: (process.argv[1] ?? '').replace(/[^/]*$/, 'tinyrun'),
  env: process.env,
  cwd: process.cwd(),
  get stdin(): Input {
    usesStreams = true;
    return process.stdin;
  },
  stdout: outputOf(1),
  stderr: outputOf(2),
  get signal(): AbortSignal {
    abort ??= abortOnSignal();
    return abort.signal;
  },
  onSignal,
  // Not performance.now(): its module is loaded on first use, 2 ms.
  now: () => process.uptime() * 1000,
  architecture: process.arch === 'x64' ? 'amd64' : process.arch,
  nodeVersion: process.versions.node,
  isRoot: process.getuid?.() === 0,
};

/** Node has to leave terminals and pipes as they were. */
let usesStreams = false;
let abort: AbortController | undefined;
let stopAborting: () => void = () => {};

/**
 * A file descriptor written to synchronously, as Node itself does for files, terminals and pipes; process.stdout would load
 * node:net or node:tty for it, a millisecond or two.
 */
function outputOf(fd: 1 | 2): Output {
  const stream = (): NodeJS.WriteStream => {
    usesStreams = true;
    return fd === 1 ? process.stdout : process.stderr;
  };
  return {
    get isTTY() {
      return mayBeTerminal(fd) && stream().isTTY;
    },
    get columns() {
      return mayBeTerminal(fd) ? stream().columns : undefined;
    },
    get rows() {
      return mayBeTerminal(fd) ? stream().rows : undefined;
    },
    write: (data) => {
      writeAll(fd, typeof data === 'string' ? Buffer.from(data) : data);
      return true;
    },
    once: () => undefined,
  };
}

function mayBeTerminal(fd: number): boolean {
  try {
    return fstatSync(fd).isCharacterDevice();
  } catch {
    return false;
  }
}

function writeAll(fd: number, data: Uint8Array): void {
  for (let at = 0; at < data.length; ) {
    try {
      at += writeSync(fd, data, at);
    } catch (error) {
      const code = errorCode(error);
      if (code === 'EPIPE') process.exit(BROKEN_PIPE);
      if (code === 'EBADF') return;
      if (code !== 'EAGAIN') throw error;
      // Somebody made the pipe non-blocking; its reader is slow.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    }
  }
}

function onSignal(names: readonly SignalName[], listener: (name: SignalName) => void): () => void {
  stopAborting();
  for (const name of names) process.on(name, listener);
  return () => {
    for (const name of names) process.removeListener(name, listener);
  };
}

/** Until somebody listens to signals himself. */
function abortOnSignal(): AbortController {
  const controller = new AbortController();
  stopAborting = onSignal(['SIGINT', 'SIGTERM', 'SIGHUP'], (name) => {
    // The second one ends the command at once.
    stopAborting();
    process.exitCode = name === 'SIGINT' ? 130 : 143;
    controller.abort(new Error(name));
  });
  return controller;
}

/** Not process.exitCode alone: a connection that lingers would keep the command from ending. */
function end(code: number): void {
  // Somebody wants a profile or the like of Node, written in the end; the one flag is of bin/tinyrun.
  const observed = process.execArgv.some((flag) => !flag.startsWith('--v8-pool-size'));
  if (!usesStreams && !observed && process.listenerCount('exit') === 0) endProcess(code);
  process.exit(code);
}

runProgram(context).then(
  (code) => end(typeof process.exitCode === 'number' ? process.exitCode : code),
  (error: unknown) => {
    process.stderr.write(`tinyrun: ${error instanceof Error ? error.stack : String(error)}\n`);
    process.exit(1);
  },
);
