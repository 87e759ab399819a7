import { TinyrunError } from '../../errors.ts';
import {
  type ArgumentTest,
  type FilterRule,
  openSeccomp,
  type SeccompLibrary,
} from '../../native/seccomp.ts';
import type { Seccomp, SeccompArg } from '../../oci/runtime-spec.ts';
import { decodeProgram, encodeProgram } from './bpf.ts';
import { condense, type Override } from './condense.ts';

const ENOSYS = 38;
const EPERM = 1;

/** SECCOMP_RET_* of linux/seccomp.h. */
const ACTIONS: Readonly<Record<string, number>> = {
  SCMP_ACT_KILL: 0,
  SCMP_ACT_KILL_THREAD: 0,
  SCMP_ACT_KILL_PROCESS: 0x80000000,
  SCMP_ACT_TRAP: 0x00030000,
  SCMP_ACT_ERRNO: 0x00050000,
  SCMP_ACT_TRACE: 0x7ff00000,
  SCMP_ACT_LOG: 0x7ffc0000,
  SCMP_ACT_ALLOW: 0x7fff0000,
};

/** enum scmp_compare. */
const COMPARISONS: Readonly<Record<string, number>> = {
  SCMP_CMP_NE: 1,
  SCMP_CMP_LT: 2,
  SCMP_CMP_LE: 3,
  SCMP_CMP_EQ: 4,
  SCMP_CMP_GE: 5,
  SCMP_CMP_GT: 6,
  SCMP_CMP_MASKED_EQ: 7,
};

/** libseccomp's tokens: AUDIT_ARCH_*, but for x32, which to the kernel is x86-64 with a bit in the number. */
const TOKENS: Readonly<Record<string, number>> = {
  SCMP_ARCH_X86: 0x40000003,
  SCMP_ARCH_X86_64: 0xc000003e,
  SCMP_ARCH_X32: 0x4000003e,
  SCMP_ARCH_ARM: 0x40000028,
  SCMP_ARCH_AARCH64: 0xc00000b7,
  SCMP_ARCH_MIPS: 0x8,
  SCMP_ARCH_MIPS64: 0x80000008,
  SCMP_ARCH_MIPS64N32: 0xa0000008,
  SCMP_ARCH_MIPSEL: 0x40000008,
  SCMP_ARCH_MIPSEL64: 0xc0000008,
  SCMP_ARCH_MIPSEL64N32: 0xe0000008,
  SCMP_ARCH_PPC: 0x14,
  SCMP_ARCH_PPC64: 0x80000015,
  SCMP_ARCH_PPC64LE: 0xc0000015,
  SCMP_ARCH_S390: 0x16,
  SCMP_ARCH_S390X: 0x80000016,
  SCMP_ARCH_RISCV64: 0xc00000f3,
};
const X86_64 = 0xc000003e;
const X32 = 0x4000003e;
const X32_BIT = 0x40000000;

/**
 * Calls newer than the libseccomp of stable distributions (2.5.4), by the number that all architectures share since 5.1.
 * Without this table they would be refused where Docker, which brings a newer libseccomp, allows them.
 */
const NEWER: Readonly<Record<string, number>> = {
  cachestat: 451,
  fchmodat2: 452,
  map_shadow_stack: 453,
  futex_wake: 454,
  futex_wait: 455,
  futex_requeue: 456,
  statmount: 457,
  listmount: 458,
  lsm_get_self_attr: 459,
  lsm_set_self_attr: 460,
  lsm_list_modules: 461,
  mseal: 462,
  setxattrat: 463,
  getxattrat: 464,
  listxattrat: 465,
  removexattrat: 466,
};

/**
 * A resolved profile as a BPF program, the same that runc would load: libseccomp's filter, behind it in front the rule that
 * a call newer than any of the profile is unknown (ENOSYS) rather than forbidden, so that C libraries fall back.
 * @throws TinyrunError `unavailable` where libseccomp is missing, `invalid` for what it does not understand
 */
export function compileSeccomp(seccomp: Seccomp, library: SeccompLibrary = openSeccomp()): Uint8Array {
  const defaultAction = actionOf(seccomp.defaultAction, seccomp.defaultErrnoRet);
  const architectures = (seccomp.architectures ?? []).map(tokenOf);
  const raw = library.compile({
    defaultAction,
    architectures,
    rules: rulesOf(seccomp, defaultAction, library),
  });
  const tokens = [...new Set([library.nativeArchitecture, ...architectures])];
  const newer = newerCalls(seccomp, defaultAction, library);
  const patch = patchOf(seccomp, tokens, newer, library);
  const condensed = condense(decodeProgram(raw), patch.override, patch.boundaries);
  if (condensed === undefined) {
    throw new TinyrunError(
      'internal',
      'Cannot compile the seccomp filter: libseccomp wrote an unknown instruction',
    );
  }
  if (condensed.length > 4096) {
    throw new TinyrunError(
      'invalid',
      `Cannot load the seccomp filter: it has ${condensed.length} instructions, the kernel takes 4096`,
    );
  }
  return encodeProgram(condensed);
}

function actionOf(name: string, errno = EPERM): number {
  const action = ACTIONS[name];
  if (action === undefined)
    throw new TinyrunError('invalid', `Cannot use seccomp action "${name}": it is unknown`);
  const carries = name === 'SCMP_ACT_ERRNO' || name === 'SCMP_ACT_TRACE';
  return carries ? action + (errno & 0xffff) : action;
}

function tokenOf(name: string): number {
  const token = TOKENS[name];
  if (token === undefined)
    throw new TinyrunError('invalid', `Cannot use seccomp architecture "${name}": it is unknown`);
  return token;
}

function rulesOf(seccomp: Seccomp, defaultAction: number, library: SeccompLibrary): FilterRule[] {
  return seccomp.syscalls.flatMap(({ names, action: actionName, errnoRet, args = [] }) => {
    const action = actionOf(actionName, errnoRet);
    // libseccomp refuses a rule that says what is the case anyhow.
    if (action === defaultAction) return [];
    const tests = testsOf(args);
    return names.flatMap((name) => {
      const syscall = library.syscallNumber(name);
      return syscall === undefined ? [] : tests.map((together) => ({ action, syscall, tests: together }));
    });
  });
}

/** Conditions on different arguments hold together; two on the same one are alternatives, as runc has it since ever. */
function testsOf(args: readonly SeccompArg[]): ArgumentTest[][] {
  const tests = args.map(({ index, op, value, valueTwo = 0 }): ArgumentTest => {
    const comparison = COMPARISONS[op];
    if (comparison === undefined)
      throw new TinyrunError('invalid', `Cannot use seccomp operator "${op}": it is unknown`);
    return { index, op: comparison, a: BigInt(value), b: BigInt(valueTwo) };
  });
  const distinct = new Set(tests.map((test) => test.index)).size === tests.length;
  return distinct ? [tests] : tests.map((test) => [test]);
}

/** Number → action of calls that only we know the number of; those with conditions on arguments stay refused. */
function newerCalls(seccomp: Seccomp, defaultAction: number, library: SeccompLibrary): Map<number, number> {
  const calls = new Map<number, number>();
  for (const { names, action, errnoRet, args } of seccomp.syscalls) {
    if (args?.length) continue;
    for (const name of names) {
      const number = NEWER[name];
      if (number === undefined || library.syscallNumber(name) !== undefined) continue;
      const code = actionOf(action, errnoRet);
      if (code !== defaultAction) calls.set(number, code);
    }
  }
  return calls;
}

/**
 * What goes before libseccomp's verdict, as runc's patchbpf has it: beyond the largest number that the profile names, a
 * call fails with ENOSYS, separately for each architecture and for x32.
 */
function patchOf(
  seccomp: Seccomp,
  tokens: readonly number[],
  newer: ReadonlyMap<number, number>,
  library: SeccompLibrary,
): { override: Override; boundaries: number[] } {
  const lastNewer = Math.max(0, ...newer.keys());
  const largest = new Map<number, number>();
  if (!isPermissive(seccomp)) {
    for (const token of tokens) {
      const base = token === X32 ? X32_BIT : 0;
      const last = Math.max(lastNewer === 0 ? 0 : base + lastNewer, largestNumber(seccomp, token, library));
      if (last > 0) largest.set(token, last);
    }
  }
  const boundaries = [...largest.values()].map((number) => number + 1);
  for (const number of newer.keys()) {
    boundaries.push(number, number + 1, number + X32_BIT, number + X32_BIT + 1);
  }
  const override: Override = (architecture, number) => {
    // As the kernel tells: the bit, not the size of the number.
    const x32 = architecture === X86_64 && Math.floor(number / X32_BIT) % 2 === 1;
    const token = x32 ? X32 : architecture;
    const last = largest.get(token);
    if (last !== undefined && number > last) return { action: actionOf('SCMP_ACT_ERRNO', ENOSYS) };
    const action = tokens.includes(token) ? newer.get(x32 ? number - X32_BIT : number) : undefined;
    return action === undefined ? undefined : { action };
  };
  return { override, boundaries: [X32_BIT, 2 * X32_BIT, 3 * X32_BIT, ...boundaries] };
}

/** A profile that allows by default allows what is new; and one whose default is ENOSYS says so already. */
function isPermissive(seccomp: Seccomp): boolean {
  const { defaultAction, defaultErrnoRet } = seccomp;
  if (['SCMP_ACT_ALLOW', 'SCMP_ACT_LOG', 'SCMP_ACT_TRACE'].includes(defaultAction)) return true;
  return defaultErrnoRet === ENOSYS && defaultAction === 'SCMP_ACT_ERRNO';
}

function largestNumber(seccomp: Seccomp, token: number, library: SeccompLibrary): number {
  let largest = 0;
  for (const { names } of seccomp.syscalls) {
    for (const name of names) largest = Math.max(largest, library.syscallNumber(name, token) ?? 0);
  }
  return largest;
}
