import { SyscallError, TinyrunError } from '../errors.ts';
import { type FailedFrame, frameDecoder } from './frames.ts';
import {
  connectionEnded,
  type ExitRecord,
  exitRecordOf,
  type Opening,
  type OutputListener,
  type Session,
  type Turn,
} from './session.ts';
import { closeFd, receive, watchSignals } from './syscalls.ts';

/** A frame of output has up to 64 KiB; with the header of the next one. */
const CHUNK = 65536 + 8;

/**
 * As openSession(), for a command that does nothing but wait for this one container and has no input for it: without node:net,
 * streams and listeners, which take 5 ms of the time of a command.
 * @param fd the socket to the monitor, taken over
 */
export function openFollowedSession(fd: number): Opening {
  const session = new FollowedSession(fd);
  const opening = session.open();
  if (!('session' in opening)) session.close();
  return opening;
}

class FollowedSession implements Session {
  pid = 0;
  startTime = 0;
  readonly #fd: number;
  readonly #chunk = Buffer.allocUnsafeSlow(CHUNK);
  readonly #push: (chunk: Uint8Array) => number;
  readonly #early: [stream: 'stdout' | 'stderr', chunk: Uint8Array][] = [];
  /** Bytes that are worth reading at once; 0: all. */
  #wanted = 0;
  #open = true;
  #listener: OutputListener | undefined;
  #failed: FailedFrame | undefined;
  #exit: ExitRecord | undefined;

  constructor(fd: number) {
    this.#fd = fd;
    this.#push = frameDecoder({
      output: (stream, bytes) => {
        if (this.#listener !== undefined) this.#listener(stream, bytes);
        else this.#early.push([stream, bytes.slice()]);
      },
      started: ({ pid, startTime }) => {
        this.pid = pid;
        this.startTime = startTime;
      },
      failed: (frame) => {
        this.#failed = frame;
      },
      exited: (frame) => {
        this.#exit = exitRecordOf(frame);
      },
    });
  }

  /** A failed start is reported when the monitor has cleaned up and hangs up. */
  open(): Opening {
    while (this.pid === 0) {
      const got = this.#receive();
      if (got !== 'bytes') return this.#failed === undefined ? { lost: true } : { failed: this.#failed };
    }
    return { started: { pid: this.pid, startTime: this.startTime }, session: this };
  }

  follow(signals: readonly number[], listener: OutputListener): Turn {
    // First: whoever sees the first output may answer with a signal.
    watchSignals(signals);
    this.onOutput(listener);
    while (this.#exit === undefined) {
      const got = this.#receive();
      if (got === 'end') throw connectionEnded();
      if (got !== 'bytes') return { type: 'signal', signal: got };
    }
    return { type: 'exited', record: this.#exit };
  }

  onOutput(listener: OutputListener): void {
    this.#listener = listener;
    for (const [stream, chunk] of this.#early.splice(0)) listener(stream, chunk);
  }

  close(): void {
    if (this.#open) closeFd(this.#fd);
    this.#open = false;
  }

  get exited(): Promise<ExitRecord> {
    return Promise.reject(onlyFollowed());
  }

  get closed(): Promise<void> {
    return Promise.reject(onlyFollowed());
  }

  writeStdin(): boolean {
    throw onlyFollowed();
  }

  endStdin(): void {
    throw onlyFollowed();
  }

  onDrain(): void {
    throw onlyFollowed();
  }

  resize(): void {
    throw onlyFollowed();
  }

  // Whoever does not read holds the container up.
  pause(): void {}

  resume(): void {}

  #receive(): 'bytes' | 'end' | number {
    const into = this.#wanted > 0 ? this.#chunk.subarray(0, this.#wanted) : this.#chunk;
    const got = receiveOrEnd(this.#fd, into);
    if ('signal' in got) return got.signal;
    if (got.length === 0) return 'end';
    this.#wanted = this.#push(this.#chunk.subarray(0, got.length));
    return 'bytes';
  }
}

/** A monitor that was killed, or that has not read all that it was sent, resets the connection: that is an end, too. */
function receiveOrEnd(fd: number, out: Uint8Array): ReturnType<typeof receive> {
  try {
    return receive(fd, out);
  } catch (error) {
    if (error instanceof SyscallError && error.errno === 'ECONNRESET') return { length: 0 };
    throw error;
  }
}

function onlyFollowed(): TinyrunError {
  return new TinyrunError('internal', 'Cannot use the session so: it can only be followed');
}
