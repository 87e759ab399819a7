import { describe, expect, test } from 'vitest';
import { openSeccomp, type SeccompLibrary } from '../../../../src/native/seccomp.ts';
import type { Seccomp } from '../../../../src/oci/runtime-spec.ts';
import { CAPABILITIES, DEFAULT_CAPABILITIES } from '../../../../src/runtime/capabilities.ts';
import { decodeProgram, type Instruction } from '../../../../src/runtime/seccomp/bpf.ts';
import { DEFAULT_PROFILE } from '../../../../src/runtime/seccomp/default-profile.ts';
import { resolveProfile } from '../../../../src/runtime/seccomp/profile.ts';
import { compileSeccomp } from '../../../../src/runtime/seccomp/program.ts';
import { ALLOW, ARCH, errno, KILL, simulate, X32_BIT } from './simulator.ts';

const library = available();
const EPERM = errno(1);
const ENOSYS = errno(38);

/** What i386 has both as a call of its own and behind socketcall or ipc: libseccomp gives a pseudo number for it. */
const I386_DIRECT: Readonly<Record<string, number>> = {
  ...numbered(
    359,
    'socket socketpair bind connect listen accept4 getsockopt setsockopt getsockname getpeername',
  ),
  ...numbered(369, 'sendto sendmsg recvfrom recvmsg shutdown'),
  ...numbered(393, 'semget semctl shmget shmctl shmat shmdt msgget msgsnd msgrcv msgctl'),
  recvmmsg: 337,
  sendmmsg: 345,
};

function numbered(first: number, names: string): Record<string, number> {
  return Object.fromEntries(names.split(' ').map((name, index) => [name, first + index]));
}

function available(): SeccompLibrary | undefined {
  if (process.arch !== 'x64') return undefined;
  try {
    return openSeccomp();
  } catch {
    return undefined;
  }
}

function filterOf(capabilities: readonly string[]): { seccomp: Seccomp; program: Instruction[] } {
  const seccomp = resolveProfile(DEFAULT_PROFILE, { capabilities, arch: 'x64', kernel: '6.1' });
  if (seccomp === undefined) throw new Error('the default profile resolves to nothing');
  return { seccomp, program: decodeProgram(compileSeccomp(seccomp)) };
}

function custom(seccomp: Partial<Seccomp>): Instruction[] {
  return decodeProgram(compileSeccomp({ defaultAction: 'SCMP_ACT_ALLOW', syscalls: [], ...seccomp }));
}

// Where libseccomp is missing there is nothing to compare with; the build machine has it.
describe.skipIf(library === undefined)('compileSeccomp() of the default profile', () => {
  const numberOf = (name: string): number => {
    const number = library?.syscallNumber(name);
    if (number === undefined) throw new Error(`libseccomp does not know ${name}`);
    return number;
  };
  const { seccomp, program } = filterOf(DEFAULT_CAPABILITIES);
  const ask = (name: string, ...args: (number | bigint)[]): number =>
    simulate(program, { arch: ARCH.x86_64, number: numberOf(name), args: args.map(BigInt) });

  test('is small', () => {
    expect(program.length).toBeLessThan(310);
  });

  test.each([
    ['x86_64', ARCH.x86_64, ARCH.x86_64, 0],
    ['i386', ARCH.i386, ARCH.i386, 0],
    ['x32', ARCH.x86_64, 0x4000003e, X32_BIT],
  ])(
    'allows on %s what the profile names without conditions, and nothing else',
    (_name, arch, token, base) => {
      const unconditional = new Set<number>();
      const conditional = new Set<number>();
      for (const { names, args = [], action } of seccomp.syscalls) {
        for (const name of names) {
          const direct = token === ARCH.i386 ? I386_DIRECT[name] : undefined;
          const number = direct ?? library?.syscallNumber(name, token);
          if (number === undefined || number < 0) continue;
          if (action !== 'SCMP_ACT_ALLOW' || args.length > 0) conditional.add(number);
          else unconditional.add(number);
        }
      }
      const wrong: number[] = [];
      for (let number = base; number <= base + 450; number += 1) {
        if (conditional.has(number) && !unconditional.has(number)) continue;
        const expected = unconditional.has(number) ? ALLOW : EPERM;
        // uretprobe: newer than libseccomp, older than the last call that it knows.
        if (simulate(program, { arch, number }) !== expected) wrong.push(number);
      }
      expect(wrong).toEqual([]);
      expect(unconditional.size).toBeGreaterThan(250);
    },
  );

  test('calls of the future are unknown, not forbidden', () => {
    for (const number of [467, 500, 1000, X32_BIT - 1, 0x7fffffff, 0xffffffff]) {
      expect(simulate(program, { arch: ARCH.x86_64, number }), String(number)).toBe(ENOSYS);
      expect(simulate(program, { arch: ARCH.i386, number }), String(number)).toBe(ENOSYS);
    }
  });

  test.each(['cachestat 451', 'fchmodat2 452', 'mseal 462', 'removexattrat 466'])(
    '%s is allowed although libseccomp may not know it',
    (call) => {
      expect(simulate(program, { arch: ARCH.x86_64, number: Number(call.split(' ')[1]) })).toBe(ALLOW);
    },
  );

  test('lsm_get_self_attr, just as new, needs a capability', () => {
    expect(simulate(program, { arch: ARCH.x86_64, number: 459 })).toBe(EPERM);
    expect(simulate(filterOf(['CAP_SYS_ADMIN']).program, { arch: ARCH.x86_64, number: 459 })).toBe(ALLOW);
  });

  test('another architecture is killed', () => {
    for (const arch of [ARCH.aarch64, ARCH.arm, 0, 0xffffffff]) {
      expect(simulate(program, { arch, number: 0 })).toBe(KILL);
    }
  });

  test('clone may not make namespaces', () => {
    const NEWUSER = 0x10000000;
    expect(ask('clone', 0x11)).toBe(ALLOW);
    expect(ask('clone', 0x3d0f00)).toBe(ALLOW);
    for (const flag of [0x20000, 0x2000000, 0x4000000, 0x8000000, NEWUSER, 0x20000000, 0x40000000]) {
      expect(ask('clone', flag | 0x11), flag.toString(16)).toBe(EPERM);
    }
    expect(ask('unshare', NEWUSER)).toBe(EPERM);
    expect(ask('clone3', 0, 0)).toBe(ENOSYS);
    const admin = filterOf([...DEFAULT_CAPABILITIES, 'CAP_SYS_ADMIN']).program;
    for (const name of ['clone', 'clone3', 'unshare', 'mount', 'setns', 'bpf']) {
      expect(
        simulate(admin, { arch: ARCH.x86_64, number: numberOf(name), args: [BigInt(NEWUSER)] }),
        name,
      ).toBe(ALLOW);
    }
  });

  test.each([
    [1, ALLOW],
    [2, ALLOW],
    [10, ALLOW],
    [16, ALLOW],
    [37, ALLOW],
    [38, EPERM],
    [39, ALLOW],
    [40, EPERM],
    [41, ALLOW],
    [0x1_0000_0026n, ALLOW],
  ])('socket of family %s', (family, expected) => {
    expect(ask('socket', family)).toBe(expected);
    if (typeof family === 'number') {
      const number = I386_DIRECT.socket ?? 0;
      expect(simulate(program, { arch: ARCH.i386, number, args: [BigInt(family)] })).toBe(expected);
    }
  });

  test.each([
    [0, ALLOW],
    [8, ALLOW],
    [0x20000, ALLOW],
    [0x20008, ALLOW],
    [0xffffffff, ALLOW],
    [1, EPERM],
    [0x40000, EPERM],
    [0xffffffffffffffffn, EPERM],
  ])('personality %s', (persona, expected) => {
    expect(ask('personality', persona)).toBe(expected);
  });

  test.each([
    'keyctl',
    'add_key',
    'io_uring_setup',
    'userfaultfd',
    'kexec_load',
    'mount',
    'swapon',
    'bpf',
    'reboot',
  ])('%s is forbidden', (name) => {
    expect(ask(name)).toBe(EPERM);
  });
});

describe.skipIf(library === undefined)('compileSeccomp() against libseccomp itself', () => {
  /** What libseccomp says, without the rules for calls newer than itself. */
  function plain(seccomp: Seccomp): Instruction[] {
    const recorded: Uint8Array[] = [];
    if (library === undefined) return [];
    const recording: SeccompLibrary = {
      ...library,
      compile(request) {
        recorded.push(library.compile(request));
        return recorded[0] ?? new Uint8Array();
      },
    };
    compileSeccomp(seccomp, recording);
    return decodeProgram(recorded[0] ?? new Uint8Array());
  }

  test.each([
    ['default capabilities', DEFAULT_CAPABILITIES],
    ['no capabilities', []],
    ['all capabilities', CAPABILITIES],
  ])('agrees for every call and many arguments with %s', (_name, capabilities) => {
    const { seccomp, program } = filterOf(capabilities);
    const theirs = plain(seccomp);
    expect(theirs.length).toBeGreaterThan(program.length * 2);
    const words = [
      0n,
      1n,
      8n,
      37n,
      38n,
      39n,
      40n,
      41n,
      0x20000n,
      0x20008n,
      0x7e020000n,
      0x10000000n,
      0xffffffffn,
      1n << 33n,
      (1n << 64n) - 1n,
    ];
    const wrong: string[] = [];
    for (const [arch, base] of [
      [ARCH.x86_64, 0],
      [ARCH.x86_64, X32_BIT],
      [ARCH.i386, 0],
      [ARCH.aarch64, 0],
    ] as const) {
      for (let number = base; number <= base + 450; number += 1) {
        for (const word of words) {
          const call = { arch, number, args: [word, word, 0n, 0n, 0n, word] };
          const [mine, other] = [simulate(program, call), simulate(theirs, call)];
          if (mine !== other)
            wrong.push(`${arch.toString(16)} ${number} ${word}: ${mine} instead of ${other}`);
        }
      }
    }
    expect(wrong).toEqual([]);
  });
});

describe.skipIf(library === undefined)('compileSeccomp() of other profiles', () => {
  test('allow by default, one call refused', () => {
    const program = custom({
      syscalls: [{ names: ['chmod', 'no_such_call'], action: 'SCMP_ACT_ERRNO', errnoRet: 13 }],
    });
    expect(simulate(program, { arch: ARCH.x86_64, number: 90 })).toBe(errno(13));
    expect(simulate(program, { arch: ARCH.x86_64, number: 91 })).toBe(ALLOW);
    expect(simulate(program, { arch: ARCH.x86_64, number: 9999 })).toBe(ALLOW);
    expect(simulate(program, { arch: ARCH.i386, number: 15 })).toBe(KILL);
  });

  test('conditions on different arguments hold together, two on one are alternatives', () => {
    const arg = (index: number, value: number) => ({ index, value, op: 'SCMP_CMP_EQ' });
    const both = custom({
      syscalls: [{ names: ['chmod'], action: 'SCMP_ACT_TRAP', args: [arg(0, 1), arg(1, 2)] }],
    });
    const either = custom({
      syscalls: [{ names: ['chmod'], action: 'SCMP_ACT_TRAP', args: [arg(1, 1), arg(1, 2)] }],
    });
    const run = (program: Instruction[], ...args: bigint[]) =>
      simulate(program, { arch: ARCH.x86_64, number: 90, args });
    expect([run(both, 1n, 2n), run(both, 1n, 1n), run(both, 2n, 2n)]).toEqual([0x30000, ALLOW, ALLOW]);
    expect([run(either, 0n, 1n), run(either, 0n, 2n), run(either, 0n, 3n)]).toEqual([
      0x30000,
      0x30000,
      ALLOW,
    ]);
  });

  test.each([
    ['SCMP_CMP_NE', [0, 1, 2], [true, false, true]],
    ['SCMP_CMP_LT', [0, 1, 2], [true, false, false]],
    ['SCMP_CMP_LE', [0, 1, 2], [true, true, false]],
    ['SCMP_CMP_EQ', [0, 1, 2], [false, true, false]],
    ['SCMP_CMP_GE', [0, 1, 2], [false, true, true]],
    ['SCMP_CMP_GT', [0, 1, 2], [false, false, true]],
  ])('%s', (op, values, expected) => {
    const program = custom({
      syscalls: [{ names: ['chmod'], action: 'SCMP_ACT_LOG', args: [{ index: 0, value: 1, op }] }],
    });
    const got = values.map(
      (value) => simulate(program, { arch: ARCH.x86_64, number: 90, args: [BigInt(value)] }) === 0x7ffc0000,
    );
    expect(got).toEqual(expected);
  });

  test('deny by default without rules', () => {
    const program = custom({ defaultAction: 'SCMP_ACT_KILL_PROCESS' });
    expect(simulate(program, { arch: ARCH.x86_64, number: 0 })).toBe(0x80000000);
  });

  test.each([
    [{ defaultAction: 'SCMP_ACT_NOTIFY' }, 'seccomp action "SCMP_ACT_NOTIFY"'],
    [{ architectures: ['SCMP_ARCH_PDP11'] }, 'seccomp architecture "SCMP_ARCH_PDP11"'],
    [
      { syscalls: [{ names: ['read'], action: 'SCMP_ACT_TRAP', args: [{ index: 0, value: 0, op: 'X' }] }] },
      'seccomp operator "X"',
    ],
  ])('refuses %j', (profile, message) => {
    expect(() => custom(profile)).toThrow(message);
  });
});
