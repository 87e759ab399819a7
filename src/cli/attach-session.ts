import type { OutputListener, Session } from '../engine/index.ts';
import { leaveOutputAlone } from '../engine/terminal.ts';
import type { Context, Output, SignalName } from './context.ts';
import { detachWatcher } from './detach-keys.ts';

export interface AttachHow {
  readonly tty: boolean;
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  /** Bytes that end the session and leave the container running. */
  readonly detachKeys: Uint8Array;
  /** Told each size that the terminal gets. */
  readonly onResize?: (rows: number, columns: number) => void;
  /** Signals that come to the command go on to the container. */
  readonly forward?: (signal: SignalName) => Promise<void>;
}

export type AttachEnd =
  | { readonly type: 'exited'; readonly exitCode: number }
  | { readonly type: 'detached' }
  /** The command itself is to end, with this exit code; the container goes on. */
  | { readonly type: 'aborted'; readonly exitCode: number };

const FORWARDED: readonly SignalName[] = ['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGTERM', 'SIGUSR1', 'SIGUSR2'];
/** What ends the command where nothing is forwarded, and with which exit code. */
const ENDING: Readonly<Partial<Record<SignalName, number>>> = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 };
const PATIENCE = 3;

/**
 * Joins the command's stdio to a container's until the container ends, the user types the detach keys, or the command is
 * told to end. The terminal is back as it was in every case.
 */
export async function attachSession(context: Context, session: Session, how: AttachHow): Promise<AttachEnd> {
  if (session.follow !== undefined) return followSession(context, session, session.follow.bind(session), how);
  const { promise: told, resolve: tell } = deferred<AttachEnd>();
  const undo: (() => void)[] = [];
  if (how.stdin) undo.push(pumpStdin(context, session, { how, tell }));
  if (how.tty) undo.push(followSize(context, session, how));
  undo.push(watchSignals(context, how, tell));
  // Last: whoever sees the first output may answer with a signal.
  session.onOutput((stream, chunk) => {
    if (stream === 'stdout' ? how.stdout : how.stderr)
      write(stream === 'stdout' ? context.stdout : context.stderr, chunk, session);
  });
  let over = false;
  try {
    const end = await Promise.race([told, ended(session)]);
    over = end.type === 'exited';
    return end;
  } finally {
    for (const step of undo.reverse()) step();
    // The monitor does it where it has said all. To destroy a socket costs Node a look at process.stderr, 1 ms to make.
    if (!over) session.close();
  }
}

/** As x86-64 and arm64 number them. */
const NUMBERS: Readonly<Record<SignalName, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGUSR1: 10,
  SIGUSR2: 12,
  SIGTERM: 15,
  SIGWINCH: 28,
};

/** The same in this thread, for a command that has nothing else to wait for and gives no input. */
async function followSession(
  context: Context,
  session: Session,
  follow: NonNullable<Session['follow']>,
  how: AttachHow,
): Promise<AttachEnd> {
  // Nothing that listened before has to be told any more.
  context.onSignal([], () => {});
  const show: OutputListener = (stream, chunk) => {
    if (stream === 'stdout' ? how.stdout : how.stderr)
      (stream === 'stdout' ? context.stdout : context.stderr).write(chunk);
  };
  const { names, take } = signalTaker(context, how);
  const numbers = names.map((name) => NUMBERS[name]);
  for (;;) {
    const turn = follow(numbers, show);
    if (turn.type === 'exited') return { type: 'exited', exitCode: turn.record.exitCode };
    const name = names.find((one) => NUMBERS[one] === turn.signal);
    const end = name === undefined ? undefined : await take(name);
    if (end === undefined) continue;
    session.close();
    return end;
  }
}

async function ended(session: Session): Promise<AttachEnd> {
  const { exitCode } = await session.exited;
  return { type: 'exited', exitCode };
}

function write(output: Output, chunk: Uint8Array, session: Session): void {
  if (output.write(chunk)) return;
  session.pause();
  output.once('drain', () => session.resume());
}

function pumpStdin(
  context: Context,
  session: Session,
  { how, tell }: { how: AttachHow; tell: (end: AttachEnd) => void },
): () => void {
  const { stdin } = context;
  const raw = how.tty && stdin.isTTY === true;
  const watch = raw ? detachWatcher(how.detachKeys) : undefined;
  const onData = (chunk: Uint8Array): void => {
    const { send, detached } = watch?.(chunk) ?? { send: chunk, detached: false };
    if (send.length > 0 && !session.writeStdin(send)) stdin.pause();
    if (detached) tell({ type: 'detached' });
  };
  const onEnd = (): void => session.endStdin();
  if (raw) {
    stdin.setRawMode?.(true);
    if (stdin.fd !== undefined) leaveOutputAlone(stdin.fd);
  }
  session.onDrain(() => stdin.resume());
  stdin.on('data', onData);
  stdin.on('end', onEnd);
  // A terminal that is gone reads as an error: the container learns it as the end of its input.
  stdin.on('error', onEnd);
  return () => {
    stdin.removeListener('data', onData);
    stdin.removeListener('end', onEnd);
    if (raw) stdin.setRawMode?.(false);
    stdin.pause();
    stdin.unref?.();
  };
}

function followSize(context: Context, session: Session, { onResize }: AttachHow): () => void {
  const tellSize = (): void => {
    const { rows, columns } = context.stdout;
    if (rows === undefined || columns === undefined) return;
    session.resize(rows, columns);
    onResize?.(rows, columns);
  };
  tellSize();
  return context.onSignal(['SIGWINCH'], tellSize);
}

function watchSignals(context: Context, how: AttachHow, tell: (end: AttachEnd) => void): () => void {
  const { names, take } = signalTaker(context, how);
  return context.onSignal(names, (name) => {
    void take(name).then((end) => {
      if (end !== undefined) tell(end);
    });
  });
}

/** Which signals matter, and what each of them does: `undefined` where the command goes on. */
function signalTaker(
  context: Context,
  { forward }: AttachHow,
): { names: readonly SignalName[]; take: (name: SignalName) => Promise<AttachEnd | undefined> } {
  if (forward === undefined) {
    return {
      names: ['SIGHUP', 'SIGINT', 'SIGTERM'],
      take: async (name) => ({ type: 'aborted', exitCode: ENDING[name] ?? 1 }),
    };
  }
  let count = 0;
  return {
    names: FORWARDED,
    take: async (name) => {
      if (name === 'SIGINT' || name === 'SIGTERM') count += 1;
      if (count >= PATIENCE) {
        context.stderr.write('got 3 SIGTERM/SIGINTs, forcefully exiting\n');
        return { type: 'aborted', exitCode: 1 };
      }
      // A container that has just ended cannot be signalled, and need not be.
      await forward(name).catch(() => {});
      return undefined;
    },
  };
}

function deferred<T>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve: (value: T) => void = () => {};
  const promise = new Promise<T>((done) => {
    resolve = done;
  });
  return { promise, resolve };
}
