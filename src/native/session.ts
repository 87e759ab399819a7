import type { Socket } from 'node:net';
import { utcSeconds } from '../disk/rfc3339.ts';
import { TinyrunError } from '../errors.ts';
import {
  type ExitedFrame,
  type FailedFrame,
  FRAME,
  frameDecoder,
  frameHeader,
  resizeFrame,
  type StartedFrame,
} from './frames.ts';

/** How a container ended. */
export interface ExitRecord {
  /** 128 + n where signal n ended it. */
  readonly exitCode: number;
  /** 0: it ended by itself. */
  readonly signal: number;
  /** The kernel has killed one of its processes for memory. */
  readonly oomKilled: boolean;
  /** RFC 3339 in UTC, nanoseconds. */
  readonly finishedAt: string;
}

export type OutputListener = (stream: 'stdout' | 'stderr', chunk: Uint8Array) => void;

/** A conversation with a container's monitor. */
export interface Session {
  /** Of the container's first process, as the host numbers it. */
  readonly pid: number;
  /** Field 22 of /proc/<pid>/stat: with the pid it names a process for good. */
  readonly startTime: number;
  /** What came before the first listener is kept for it. */
  onOutput(listener: OutputListener): void;
  /** @returns false where the container does not read: wait for {@link onDrain} */
  writeStdin(chunk: Uint8Array): boolean;
  endStdin(): void;
  onDrain(listener: () => void): void;
  resize(rows: number, columns: number): void;
  /** Rejects (`unavailable`) where the monitor went away without a word, or the session was closed before. */
  readonly exited: Promise<ExitRecord>;
  /** The monitor has left, or {@link close} was called. Never rejects. */
  readonly closed: Promise<void>;
  /** No output until {@link resume}; after a while the container stands still. */
  pause(): void;
  resume(): void;
  /** Leaves; the container goes on. */
  close(): void;
  /**
   * Waits until the container has ended or one of these signals comes to this process. This thread does nothing else meanwhile. Only of
   * a launch that was to be `followed`, and the only way to follow it.
   * @param signals their numbers
   */
  readonly follow?: (signals: readonly number[], listener: OutputListener) => Turn;
}

/** What ended a wait. */
export type Turn =
  | { readonly type: 'exited'; readonly record: ExitRecord }
  | { readonly type: 'signal'; readonly signal: number };

/** What the first frame says. */
export type Opening =
  | { readonly started: StartedFrame; readonly session: Session }
  | { readonly failed: FailedFrame }
  /** Hung up without a word. */
  | { readonly lost: true };

/**
 * Talks to a monitor over `socket`.
 * @param onClosed when the other end is closed: whatever the monitor does for this container is done then
 * @returns after the first frame; a failed start is reported when the monitor has cleaned up
 */
export function openSession(socket: Socket, onClosed: () => void): Promise<Opening> {
  return new Promise((resolve) => {
    let failed: FailedFrame | undefined;
    const session = new MonitorSession(socket);
    const push = frameDecoder({
      output: (stream, bytes) => session.takeOutput(stream, bytes),
      started: (started) => {
        session.pid = started.pid;
        session.startTime = started.startTime;
        resolve({ started, session });
      },
      failed: (frame) => {
        failed = frame;
      },
      exited: (frame) => session.takeExit(frame),
    });
    socket.on('data', (chunk: Uint8Array) => {
      try {
        push(chunk);
      } catch (error) {
        socket.destroy(error instanceof Error ? error : undefined);
      }
    });
    // A monitor that was killed resets the connection: `close` follows and says all there is to say.
    socket.on('error', () => {});
    socket.on('close', () => {
      onClosed();
      session.takeClose();
      resolve(failed === undefined ? { lost: true } : { failed });
    });
  });
}

class MonitorSession implements Session {
  pid = 0;
  startTime = 0;
  readonly exited: Promise<ExitRecord>;
  readonly closed: Promise<void>;
  readonly #socket: Socket;
  readonly #early: [stream: 'stdout' | 'stderr', chunk: Uint8Array][] = [];
  #listener: OutputListener | undefined;
  #wanted = true;
  #settleExit: (record: ExitRecord) => void = () => {};
  #failExit: (error: Error) => void = () => {};
  #settleClose: () => void = () => {};

  constructor(socket: Socket) {
    this.#socket = socket;
    this.exited = new Promise((resolve, reject) => {
      this.#settleExit = resolve;
      this.#failExit = reject;
    });
    // Nobody has to be interested.
    this.exited.catch(() => {});
    this.closed = new Promise((resolve) => {
      this.#settleClose = resolve;
    });
  }

  onOutput(listener: OutputListener): void {
    this.#listener = listener;
    for (const [stream, chunk] of this.#early.splice(0)) listener(stream, chunk);
    if (this.#wanted) this.#socket.resume();
  }

  takeOutput(stream: 'stdout' | 'stderr', chunk: Uint8Array): void {
    if (this.#listener !== undefined) {
      this.#listener(stream, chunk);
      return;
    }
    this.#early.push([stream, chunk]);
    this.#socket.pause();
  }

  takeExit(frame: ExitedFrame): void {
    this.#settleExit(exitRecordOf(frame));
  }

  takeClose(): void {
    this.#failExit(connectionEnded());
    this.#settleClose();
  }

  writeStdin(chunk: Uint8Array): boolean {
    if (this.#socket.destroyed || chunk.length === 0) return true;
    this.#socket.cork();
    this.#socket.write(frameHeader(FRAME.stdin, chunk.length));
    const flowing = this.#socket.write(chunk);
    this.#socket.uncork();
    return flowing;
  }

  endStdin(): void {
    if (!this.#socket.destroyed) this.#socket.write(frameHeader(FRAME.stdinEnd, 0));
  }

  onDrain(listener: () => void): void {
    this.#socket.on('drain', listener);
  }

  resize(rows: number, columns: number): void {
    if (!this.#socket.destroyed) this.#socket.write(resizeFrame(rows, columns));
  }

  pause(): void {
    this.#wanted = false;
    this.#socket.pause();
  }

  resume(): void {
    this.#wanted = true;
    if (this.#early.length === 0) this.#socket.resume();
  }

  close(): void {
    // Not end(): what a container does not read would keep us here.
    this.#socket.destroy();
  }
}

export function exitRecordOf({ exitCode, signal, oomKilled, seconds, nanoseconds }: ExitedFrame): ExitRecord {
  return { exitCode, signal, oomKilled, finishedAt: timeText(seconds, nanoseconds) };
}

export function connectionEnded(): TinyrunError {
  return new TinyrunError(
    'unavailable',
    'Cannot follow the container: the connection to its monitor has ended',
  );
}

/** RFC 3339 with nanoseconds, trailing zeros cut, as the monitor writes it into state.json. */
function timeText(seconds: number, nanoseconds: number): string {
  const fraction = String(nanoseconds).padStart(9, '0').replace(/0+$/, '');
  const whole = utcSeconds(seconds);
  return fraction === '' ? `${whole}Z` : `${whole}.${fraction}Z`;
}
