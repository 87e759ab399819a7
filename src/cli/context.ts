/** A terminal, a pipe or a file to read from: as much of `process.stdin` as the commands use. */
export interface Input extends NodeJS.ReadableStream {
  readonly isTTY?: boolean;
  /** The descriptor behind a terminal. */
  readonly fd?: number;
  setRawMode?(on: boolean): unknown;
  unref?(): unknown;
  ref?(): unknown;
  destroy?(): unknown;
}

export interface Output {
  readonly isTTY?: boolean;
  /** Of a terminal; undefined for anything else. */
  readonly columns?: number | undefined;
  readonly rows?: number | undefined;
  /** False: wait for `drain`. */
  write(data: string | Uint8Array): boolean;
  once(event: 'drain', listener: () => void): unknown;
}

export type SignalName = 'SIGHUP' | 'SIGINT' | 'SIGQUIT' | 'SIGTERM' | 'SIGUSR1' | 'SIGUSR2' | 'SIGWINCH';

/** The world of one command line. Nothing below main.ts looks at the process itself. */
export interface Context {
  /** Without the program's own two words. */
  readonly argv: readonly string[];
  /** Where the program itself is, absolute: for whoever is to call it later. */
  readonly program: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly stdin: Input;
  readonly stdout: Output;
  readonly stderr: Output;
  /** Aborted by the first SIGINT or SIGTERM that nothing else listens to. */
  readonly signal: AbortSignal;
  /** Listens to signals sent to the command; returns what stops it. While anyone listens, `signal` is not aborted. */
  onSignal(names: readonly SignalName[], listener: (name: SignalName) => void): () => void;
  /** Milliseconds since the process began, for `TINYRUN_DEBUG=timing`. */
  now(): number;
  /** As images name it: `amd64`, `arm64`. */
  readonly architecture: string;
  readonly nodeVersion: string;
  readonly isRoot: boolean;
}
