import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import type { Seccomp } from '../../../../src/oci/runtime-spec.ts';
import { CAPABILITIES, DEFAULT_CAPABILITIES } from '../../../../src/runtime/capabilities.ts';
import { DEFAULT_PROFILE, PROFILE_CAPABILITIES } from '../../../../src/runtime/seccomp/default-profile.ts';
import { kernelAtLeast, parseProfile, resolveProfile } from '../../../../src/runtime/seccomp/profile.ts';
import { defaultKey } from '../../../../src/runtime/seccomp/seccomp.ts';

const CONTEXT = { capabilities: DEFAULT_CAPABILITIES, arch: 'x64', kernel: '6.1.0-18-amd64' } as const;

/** Rules as sorted lines, so that grouping and order do not matter. */
function linesOf(seccomp: Seccomp | undefined): string[] {
  return (seccomp?.syscalls ?? [])
    .flatMap(({ names, action, errnoRet = '', args = [] }) =>
      names.map((name) => {
        const tests = args.map((arg) => `${arg.index} ${arg.op} ${arg.value} ${arg.valueTwo ?? 0}`);
        return [name, action, errnoRet, ...tests].join(' ');
      }),
    )
    .sort();
}

describe('DEFAULT_PROFILE', () => {
  // Digests of the same lines made from moby/profiles seccomp/v0.2.3 default.json.
  test.each([
    ['x64', 'none', [], '5932273ebf510a13'],
    ['x64', 'the default capabilities', DEFAULT_CAPABILITIES, '764f17a2e1862926'],
    ['x64', 'all capabilities', CAPABILITIES, '1ea7fdf0fa3122c2'],
    ['arm64', 'none', [], 'b11d7e2d71750a41'],
    ['arm64', 'the default capabilities', DEFAULT_CAPABILITIES, 'a56488cf1a6a0360'],
    ['arm64', 'all capabilities', CAPABILITIES, '676fb83f2cc3be74'],
  ] as const)('is Docker’s on %s with %s', (arch, _name, capabilities, digest) => {
    const lines = linesOf(resolveProfile(DEFAULT_PROFILE, { ...CONTEXT, arch, capabilities }));
    expect(createHash('sha256').update(lines.join('\n')).digest('hex').slice(0, 16)).toBe(digest);
  });

  const names = (
    capabilities: readonly string[],
    arch: 'x64' | 'arm64' = 'x64',
    kernel: string = CONTEXT.kernel,
  ) =>
    new Set(
      resolveProfile(DEFAULT_PROFILE, { capabilities, arch, kernel })?.syscalls.flatMap((rule) => rule.names),
    );

  test.each([
    ['CAP_SYS_CHROOT', 'chroot'],
    ['CAP_SYS_ADMIN', 'mount'],
    ['CAP_BPF', 'bpf'],
    ['CAP_SYS_TIME', 'clock_settime'],
    ['CAP_DAC_READ_SEARCH', 'open_by_handle_at'],
  ])('gives with %s the call %s', (capability, name) => {
    expect(names([]).has(name)).toBe(false);
    expect(names([capability]).has(name)).toBe(true);
  });

  test('knows architectures and kernels', () => {
    expect(names([], 'x64').has('arch_prctl')).toBe(true);
    expect(names([], 'arm64').has('arch_prctl')).toBe(false);
    expect(names([], 'arm64').has('cacheflush')).toBe(true);
    expect(names([], 'x64', '4.4.0').has('ptrace')).toBe(false);
    expect(resolveProfile(DEFAULT_PROFILE, CONTEXT)?.architectures).toEqual([
      'SCMP_ARCH_X86_64',
      'SCMP_ARCH_X86',
      'SCMP_ARCH_X32',
    ]);
  });

  test('never allows io_uring, keyrings or kexec', () => {
    const all = names(CAPABILITIES);
    for (const name of [
      'io_uring_setup',
      'io_uring_enter',
      'keyctl',
      'add_key',
      'kexec_load',
      'userfaultfd',
    ]) {
      expect(all.has(name), name).toBe(false);
    }
  });
});

describe('defaultKey()', () => {
  test('differs with all that the profile depends on, and with nothing else', () => {
    const keys = new Set([
      defaultKey(CONTEXT),
      defaultKey({ ...CONTEXT, arch: 'arm64' }),
      defaultKey({ ...CONTEXT, kernel: '4.4' }),
      ...PROFILE_CAPABILITIES.map((name) => defaultKey({ ...CONTEXT, capabilities: [name] })),
    ]);
    // CAP_SYS_CHROOT alone is what the default set comes to.
    expect(keys.size).toBe(3 + PROFILE_CAPABILITIES.length - 1);
    expect(defaultKey({ ...CONTEXT, kernel: '5.4' })).toBe(defaultKey(CONTEXT));
    expect(defaultKey({ ...CONTEXT, capabilities: ['CAP_SYS_CHROOT', 'CAP_KILL'] })).toBe(
      defaultKey(CONTEXT),
    );
  });
});

test.each([
  ['6.1.0-18-amd64', '4.8', true],
  ['4.8', '4.8', true],
  ['4.7.9', '4.8', false],
  ['3.12-1-amd64', '3.2', true],
  ['5.10.0', '5.9', true],
  ['nonsense', '4.8', false],
])('kernelAtLeast() %s, %s', (release, wanted, expected) => {
  expect(kernelAtLeast(release, wanted)).toBe(expected);
});

describe('parseProfile()', () => {
  const resolved = (profile: unknown) => resolveProfile(parseProfile(JSON.stringify(profile)), CONTEXT);

  test('reads the OCI form', () => {
    const oci = {
      defaultAction: 'SCMP_ACT_ALLOW',
      architectures: ['SCMP_ARCH_X86_64'],
      flags: ['SECCOMP_FILTER_FLAG_LOG'],
      syscalls: [
        {
          names: ['chmod'],
          action: 'SCMP_ACT_ERRNO',
          errnoRet: 13,
          args: [{ index: 1, value: 0o777, valueTwo: 0, op: 'SCMP_CMP_EQ' }],
        },
      ],
    };
    expect(resolved(oci)).toEqual(oci);
  });

  test('reads Docker’s old form, nulls and empty conditions', () => {
    expect(
      resolved({
        defaultAction: 'SCMP_ACT_ERRNO',
        architectures: null,
        syscalls: [
          { name: 'read', action: 'SCMP_ACT_ALLOW', args: null, comment: 'x', includes: {}, excludes: null },
          { names: ['write'], action: 'SCMP_ACT_ALLOW', args: [] },
        ],
      }),
    ).toEqual({
      defaultAction: 'SCMP_ACT_ERRNO',
      syscalls: [
        { names: ['read'], action: 'SCMP_ACT_ALLOW' },
        { names: ['write'], action: 'SCMP_ACT_ALLOW' },
      ],
    });
  });

  test('an empty profile is none', () => {
    expect(resolved({})).toBeUndefined();
  });

  test.each<[object, boolean]>([
    [{ includes: { caps: ['CAP_CHOWN'] } }, true],
    [{ includes: { caps: ['CAP_CHOWN', 'CAP_SYS_ADMIN'] } }, false],
    [{ excludes: { caps: ['CAP_SYS_ADMIN', 'CAP_CHOWN'] } }, false],
    [{ excludes: { caps: ['CAP_SYS_ADMIN'] } }, true],
    [{ includes: { arches: ['amd64'] } }, true],
    [{ includes: { arches: ['arm64'] } }, false],
    [{ includes: { arches: [] } }, true],
    [{ excludes: { arches: ['amd64'] } }, false],
    [{ includes: { minKernel: '6.1' } }, true],
    [{ includes: { minKernel: '6.2' } }, false],
    [{ excludes: { minKernel: '4.8' } }, false],
    [{ excludes: { minKernel: '7.0' } }, true],
  ])('applies %j', (condition, expected) => {
    const profile = {
      defaultAction: 'SCMP_ACT_ERRNO',
      syscalls: [{ names: ['read'], action: 'SCMP_ACT_ALLOW', ...condition }],
    };
    expect(resolved(profile)?.syscalls.length).toBe(expected ? 1 : 0);
  });

  const rule = (fields: object) => ({
    defaultAction: 'SCMP_ACT_ERRNO',
    syscalls: [{ names: ['a'], action: 'SCMP_ACT_ALLOW', ...fields }],
  });
  test.each<[unknown, string]>([
    [[], 'the profile is not an object'],
    [{ defaultAction: 5 }, 'defaultAction is not a string'],
    [{ defaultAction: 'ALLOW' }, 'defaultAction is "ALLOW", no action of seccomp'],
    [{ defaultAction: 'SCMP_ACT_NOTIFY' }, 'defaultAction is SCMP_ACT_NOTIFY, which is not supported'],
    [{ listenerPath: '/x' }, 'a listener is not supported'],
    [
      { architectures: ['a'], archMap: [{ architecture: 'b' }] },
      "both 'architectures' and 'archMap' are specified",
    ],
    [{ syscalls: {} }, 'syscalls is not a list'],
    [{ syscalls: ['read'] }, 'syscalls[0] is not an object'],
    [rule({ name: 'b' }), "both 'name' and 'names' are specified"],
    [rule({ names: [1] }), 'syscalls[0].names is not a string'],
    [rule({ errnoRet: 5000 }), 'syscalls[0].errnoRet is 5000, expected an errno'],
    [rule({ errnoRet: -1 }), 'syscalls[0].errnoRet is not a whole number'],
    [rule({ args: [{ index: 6, op: 'SCMP_CMP_EQ' }] }), 'syscalls[0].args.index is 6, expected 0 to 5'],
    [rule({ args: [{ index: 0, op: 'EQ' }] }), 'syscalls[0].args.op is "EQ"'],
    [
      rule({ args: [{ index: 0, op: 'SCMP_CMP_EQ', value: 2 ** 60 }] }),
      'is not a whole number from 0 to 9007199254740991',
    ],
    [rule({ includes: { minKernel: '4' } }), 'syscalls[0].includes.minKernel is "4"'],
  ])('refuses %j', (profile, message) => {
    expect(() => resolved(profile)).toThrow(message);
  });

  test('refuses what is not JSON', () => {
    expect(() => parseProfile('{')).toThrow('Decoding seccomp profile failed: it is not JSON');
  });
});
