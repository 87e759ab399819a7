/**
 * The frames between a monitor and its clients; `native/frames.h` is the other half and describes the conversation. A frame is an
 * 8-byte header (type, three zeros, payload length in big-endian, as in Docker's attach stream) and a payload.
 */
export const FRAME = {
  stdin: 0,
  stdout: 1,
  stderr: 2,
  stdinEnd: 16,
  resize: 17,
  attach: 18,
  ports: 19,
  started: 32,
  failed: 33,
  exited: 34,
  answered: 35,
} as const;

const HEADER = 8;
/** No control frame is larger; one that claims to be comes from something that is no monitor. */
const CONTROL_MAX = 64;

export interface StartedFrame {
  readonly pid: number;
  /** Field 22 of /proc/<pid>/stat. */
  readonly startTime: number;
}

export interface FailedFrame {
  /** `enum tr_phase` of native/plan.h. */
  readonly phase: number;
  readonly opIndex: number;
  readonly errno: number;
}

export interface ExitedFrame {
  readonly exitCode: number;
  readonly signal: number;
  readonly oomKilled: boolean;
  /** Seconds and nanoseconds since the epoch. */
  readonly seconds: number;
  readonly nanoseconds: number;
}

/** To a client that asked for a change. */
export interface AnsweredFrame {
  /** 0: it is done. */
  readonly errno: number;
  /** Which line of what was asked for could not be had. */
  readonly line: number;
}

export interface FrameHandlers {
  /** Part of the payload of an output frame; a view of the chunk that was pushed, nothing is copied. */
  output(stream: 'stdout' | 'stderr', bytes: Uint8Array): void;
  started(frame: StartedFrame): void;
  failed(frame: FailedFrame): void;
  exited(frame: ExitedFrame): void;
  answered?(frame: AnsweredFrame): void;
}

/** The header of a frame whose payload has `length` bytes (below 2^32). */
export function frameHeader(type: number, length: number): Uint8Array {
  const bytes = new Uint8Array(HEADER);
  bytes[0] = type;
  new DataView(bytes.buffer).setUint32(4, length);
  return bytes;
}

export function resizeFrame(rows: number, columns: number): Uint8Array {
  const bytes = new Uint8Array(HEADER + 4);
  bytes.set(frameHeader(FRAME.resize, 4));
  const view = new DataView(bytes.buffer);
  view.setUint16(HEADER, rows);
  view.setUint16(HEADER + 2, columns);
  return bytes;
}

/**
 * Takes a monitor's bytes in whatever pieces they come and calls the handlers. Frames of unknown type are skipped, so that an
 * older client understands a newer monitor.
 * @returns what to push the bytes into; it throws where they cannot be a monitor's. It tells how many bytes are left of the frame under
 * way (0: none is) and of the header behind it: who reads no more than that gets the next payload in one piece.
 */
export function frameDecoder(handlers: FrameHandlers): (chunk: Uint8Array) => number {
  const header = new Uint8Array(HEADER);
  let have = 0;
  let left = 0;
  let control = new Uint8Array(0);

  return (chunk) => {
    let at = 0;
    while (at < chunk.length) {
      if (have < HEADER) {
        const part = chunk.subarray(at, at + HEADER - have);
        header.set(part, have);
        have += part.length;
        at += part.length;
        if (have < HEADER) return 0;
        left = payloadLength(header);
        control = isControl(header[0] ?? 0) ? new Uint8Array(left) : new Uint8Array(0);
      } else {
        const part = chunk.subarray(at, at + left);
        if (control.length > 0) control.set(part, control.length - left);
        else if (header[0] === FRAME.stdout) handlers.output('stdout', part);
        else if (header[0] === FRAME.stderr) handlers.output('stderr', part);
        left -= part.length;
        at += part.length;
      }
      if (left > 0) continue;
      have = 0;
      if (control.length > 0) dispatch(header[0] ?? 0, control, handlers);
    }
    return left > 0 ? left + HEADER : 0;
  };
}

function isControl(type: number): boolean {
  return Object.hasOwn(SIZE_OF, type);
}

function payloadLength(header: Uint8Array): number {
  const length = new DataView(header.buffer).getUint32(4);
  const [type = 0, a, b, c] = header;
  if (a !== 0 || b !== 0 || c !== 0)
    throw new Error('Cannot read a frame of the monitor: its header is damaged');
  if (isControl(type) && (length > CONTROL_MAX || length < SIZE_OF[type as ControlType])) {
    throw new Error(`Cannot read a frame of the monitor: type ${type} has ${length} bytes`);
  }
  return length;
}

type ControlType = typeof FRAME.started | typeof FRAME.failed | typeof FRAME.exited | typeof FRAME.answered;

/** Payload sizes as in native/frames.h; a newer monitor may add to the end. */
export const SIZE_OF: Readonly<Record<ControlType, number>> = {
  [FRAME.started]: 12,
  [FRAME.failed]: 9,
  [FRAME.exited]: 21,
  [FRAME.answered]: 8,
};

function dispatch(type: number, payload: Uint8Array, handlers: FrameHandlers): void {
  const view = new DataView(payload.buffer);
  if (type === FRAME.started) {
    handlers.started({ pid: view.getUint32(0), startTime: Number(view.getBigUint64(4)) });
  } else if (type === FRAME.failed) {
    handlers.failed({ phase: view.getUint8(0), opIndex: view.getInt32(1), errno: view.getInt32(5) });
  } else if (type === FRAME.exited) {
    handlers.exited({
      exitCode: view.getInt32(0),
      signal: view.getInt32(4),
      oomKilled: view.getUint8(8) !== 0,
      seconds: Number(view.getBigInt64(9)),
      nanoseconds: view.getUint32(17),
    });
  } else if (type === FRAME.answered) {
    handlers.answered?.({ errno: view.getInt32(0), line: view.getUint32(4) });
  }
}
