/**
 * What went wrong, in words for a person and in a kind for a program. Exit codes, HTTP and gRPC
 * statuses are tables over the kind; nothing ever parses a message.
 */
export type ErrorKind =
  | 'invalid'
  | 'not_found'
  | 'conflict'
  | 'denied'
  | 'unauthorized'
  | 'unavailable'
  | 'unsupported'
  | 'internal';

export interface ErrorDetails {
  /** One line of advice: what to do about it. Printed on a line of its own. */
  readonly hint?: string;
  readonly cause?: unknown;
}

/**
 * An error that a user can meet. Grammar of messages: `Cannot <action> "<object>": <state>[, expected <state>]`,
 * sentence case, no final period; strings that Docker's users and scripts know are kept word for word.
 */
export class TinyrunError extends Error {
  override readonly name: string = 'TinyrunError';
  readonly kind: ErrorKind;
  readonly hint?: string;

  constructor(kind: ErrorKind, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.kind = kind;
    if (details.hint !== undefined) this.hint = details.hint;
  }
}

const KIND_OF_ERRNO: Readonly<Record<string, ErrorKind>> = {
  ENOENT: 'not_found',
  EEXIST: 'conflict',
  EBUSY: 'conflict',
  EADDRINUSE: 'conflict',
  EACCES: 'denied',
  EPERM: 'denied',
  EROFS: 'denied',
  EINVAL: 'invalid',
  ENOSYS: 'unsupported',
  EOPNOTSUPP: 'unsupported',
  ENODEV: 'unsupported',
  ENOSPC: 'unavailable',
  EDQUOT: 'unavailable',
  ENOMEM: 'unavailable',
};

/** A system call that failed: `mount "proc" on "/proc": EPERM`. */
export class SyscallError extends TinyrunError {
  override readonly name = 'SyscallError';
  readonly syscall: string;
  readonly object: string;
  /** The symbolic errno, such as `ENOENT`. */
  readonly errno: string;

  constructor(syscall: string, object: string, errno: string, details: ErrorDetails = {}) {
    super(KIND_OF_ERRNO[errno] ?? 'internal', `${syscall} "${object}": ${errno}`, details);
    this.syscall = syscall;
    this.object = object;
    this.errno = errno;
  }
}

/** The `code` of a Node file system error (`ENOENT` and so on), or undefined for anything else. */
export function errorCode(error: unknown): string | undefined {
  if (error instanceof SyscallError) return error.errno;
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') return error.code;
  return undefined;
}

/** The sentence of an error with those of its causes, each said once: `a: b: c`. */
export function describe(error: unknown): string {
  const parts: string[] = [];
  for (let current = error; current !== undefined && parts.length < 8; ) {
    const text = current instanceof Error ? current.message : String(current);
    if (text !== '' && !parts.some((part) => part.includes(text))) parts.push(text);
    current = current instanceof Error ? current.cause : undefined;
  }
  return parts.join(': ');
}
