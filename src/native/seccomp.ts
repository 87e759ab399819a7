import { closeSync, fstatSync, mkdtempSync, openSync, readSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { LibraryHandle } from 'koffi';
import { TinyrunError } from '../errors.ts';
import { openLibrary } from './library.ts';

/** One condition on an argument: `arg OP a`, or `(arg & a) == b` for masked equality. */
export interface ArgumentTest {
  readonly index: number;
  /** Number of enum scmp_compare. */
  readonly op: number;
  readonly a: bigint;
  readonly b: bigint;
}

export interface FilterRule {
  /** SCMP_ACT_* with its errno. */
  readonly action: number;
  /** libseccomp's number, negative where the native architecture has no such call. */
  readonly syscall: number;
  /** All must hold. */
  readonly tests: readonly ArgumentTest[];
}

export interface FilterRequest {
  readonly defaultAction: number;
  /** libseccomp's tokens, besides the native one. */
  readonly architectures: readonly number[];
  readonly rules: readonly FilterRule[];
}

/** libseccomp.so.2, as far as it is needed to turn names into a program. */
export interface SeccompLibrary {
  /** The architecture of this process. */
  readonly nativeArchitecture: number;
  /** Undefined for a name that this libseccomp does not know. */
  syscallNumber(name: string, architecture?: number): number | undefined;
  /**
   * The program as sock_filter[] in host byte order, as libseccomp writes it.
   * @throws TinyrunError `internal` naming the call that failed
   */
  compile(request: FilterRequest): Uint8Array;
}

let opened: SeccompLibrary | undefined;

/**
 * Loads libseccomp, once. Only for a program that nobody has compiled before: see `seccompFor()`.
 * @throws TinyrunError `unavailable` naming the package where the library is missing
 */
export function openSeccomp(): SeccompLibrary {
  opened ??= load();
  return opened;
}

function load(): SeccompLibrary {
  const library = openOrExplain();
  const resolve = library.func('int seccomp_syscall_resolve_name_arch(uint32_t arch, const char *name)');
  const nativeArchitecture = Number(library.func('uint32_t seccomp_arch_native()')());
  return {
    nativeArchitecture,
    syscallNumber(name, architecture = nativeArchitecture) {
      const number = Number(resolve(architecture, name));
      return number === UNKNOWN ? undefined : number;
    },
    compile: (request) => compile(library, request),
  };
}

/** __NR_SCMP_ERROR. Other negative numbers are calls that exist elsewhere. */
const UNKNOWN = -1;

function openOrExplain(): LibraryHandle {
  try {
    return openLibrary('libseccomp.so.2');
  } catch (cause) {
    throw new TinyrunError(
      'unavailable',
      'Cannot compile the seccomp filter: libseccomp.so.2 is not installed',
      {
        hint: 'Install libseccomp2 (Debian, Ubuntu) or libseccomp (Fedora, Alpine), or use --security-opt seccomp=unconfined',
        cause,
      },
    );
  }
}

function compile(library: LibraryHandle, request: FilterRequest): Uint8Array {
  const add = library.func(
    'int seccomp_rule_add_array(void *ctx, uint32_t action, int syscall, unsigned int count, const void *args)',
  );
  const addArchitecture = library.func('int seccomp_arch_add(void *ctx, uint32_t arch)');
  const context: unknown = library.func('void *seccomp_init(uint32_t action)')(request.defaultAction);
  if (context === null) throw failure('seccomp_init', EINVAL);
  try {
    for (const architecture of request.architectures) {
      check('seccomp_arch_add', Number(addArchitecture(context, architecture)), EEXIST);
    }
    for (const { action, syscall, tests } of request.rules) {
      const status = Number(add(context, action, syscall, tests.length, encodeTests(tests)));
      check(`seccomp_rule_add of system call ${syscall}`, status, EEXIST);
    }
    return exported(library, context);
  } finally {
    library.func('void seccomp_release(void *ctx)')(context);
  }
}

/** libseccomp before 2.6 writes to a descriptor only; a file that has no name any more is as good as memory. */
function exported(library: LibraryHandle, context: unknown): Uint8Array {
  const directory = mkdtempSync(join(tmpdir(), 'tinyrun-seccomp-'));
  const fd = openSync(join(directory, 'program'), 'wx+', 0o600);
  try {
    rmSync(directory, { recursive: true });
    check(
      'seccomp_export_bpf',
      Number(library.func('int seccomp_export_bpf(void *ctx, int fd)')(context, fd)),
    );
    const program = new Uint8Array(fstatSync(fd).size);
    readSync(fd, program, 0, program.length, 0);
    return program;
  } finally {
    closeSync(fd);
  }
}

const EINVAL = 22;
/** The native architecture is there from the start, and a profile may say a thing twice. */
const EEXIST = 17;

function check(what: string, status: number, tolerated = 0): void {
  if (status !== 0 && status !== -tolerated) throw failure(what, -status);
}

function failure(what: string, errno: number): TinyrunError {
  return new TinyrunError(
    'internal',
    `Cannot compile the seccomp filter: ${what} failed with errno ${errno}`,
  );
}

/** struct scmp_arg_cmp { unsigned arg; enum op; u64 a; u64 b; } */
function encodeTests(tests: readonly ArgumentTest[]): Uint8Array {
  const bytes = new DataView(new ArrayBuffer(Math.max(1, tests.length) * 24));
  for (const [position, { index, op, a, b }] of tests.entries()) {
    bytes.setUint32(position * 24, index, true);
    bytes.setUint32(position * 24 + 4, op, true);
    bytes.setBigUint64(position * 24 + 8, a, true);
    bytes.setBigUint64(position * 24 + 16, b, true);
  }
  return new Uint8Array(bytes.buffer);
}
