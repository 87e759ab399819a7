import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { encodePlan, PHASES } from '../../../src/native/encode.ts';
import { explainPlan } from '../../../src/native/explain.ts';
import { FORMS } from '../../../src/native/forms.ts';
import type { LaunchPlan, Op } from '../../../src/native/plan.ts';

const header = readFileSync(new URL('../../../native/plan.h', import.meta.url), 'utf8');

function planOf(child: readonly Op[], more: Partial<LaunchPlan> = {}): LaunchPlan {
  return {
    monitor: { id: 'abc', statePath: '/state.json', tty: false, openStdin: false, stdinOnce: false },
    namespaces: [],
    prepare: [],
    child,
    connect: [],
    release: [],
    cleanup: [],
    ...more,
  };
}

/** Behind the other fields of `struct tr_header`, of 8 bytes each. */
const PHASES_AT = 8 * (fieldsOf(structOf('tr_header')) + fieldsOf(structOf('tr_care')));

function structOf(name: string): string {
  return new RegExp(`struct ${name} \\{(.*?)(struct \\{|\\n\\};)`, 's').exec(header)?.[1] ?? '';
}

function fieldsOf(declarations: string): number {
  const bare = declarations.replace(/\/\*.*?\*\//gs, '');
  return [...bare.matchAll(/uint64_t ([^;]+);/g)].flatMap(([, names = '']) => names.split(',')).length;
}

/** Reads a plan as tr_plan_open() does. */
function decoded(bytes: Uint8Array) {
  const buffer = Buffer.from(bytes);
  const number = (at: number): number => Number(buffer.readBigUInt64LE(at));
  const text = (at: number): string => buffer.toString('utf8', at, buffer.indexOf(0, at));
  const list = (at: number): string[] => (number(at) === 0 ? [] : [text(number(at)), ...list(at + 8)]);
  const [, , size = 0, listsAt = 0, dataAt = 0] = [0, 1, 2, 3, 4].map((index) => number(index * 8));
  const phases = PHASES.map((_, index) => ({
    at: number(PHASES_AT + index * 16),
    count: number(PHASES_AT + 8 + index * 16),
  }));
  return { buffer, number, text, list, size, listsAt, dataAt, phases };
}

describe('FORMS', () => {
  test('has the codes and slots of native/plan.h', () => {
    const inHeader = [...header.matchAll(/^ {4}X\((\d+), (\w+), "(\w*)"\)/gm)].map(
      ([, code, name, slots]) => ({
        name,
        code: Number(code),
        slots,
      }),
    );
    const here = Object.entries(FORMS).map(([name, { code, slots }]) => ({ name, code, slots }));
    expect(here.sort((a, b) => a.code - b.code)).toEqual(inHeader);
  });

  test('fits into the slots of an op', () => {
    for (const [name, { slots }] of Object.entries(FORMS)) {
      const used = [...slots].reduce((sum, kind) => sum + (kind === 'b' ? 2 : 1), 0);
      expect(used, name).toBeLessThanOrEqual(7);
    }
  });
});

describe('encodePlan()', () => {
  test('has the mount flags of native/plan.h', () => {
    for (const [, name = '', bit] of header.matchAll(/#define TR_MOUNT_(\w+) (\d+)u/g)) {
      const flag = name.toLowerCase() as 'ro';
      const op: Op = {
        op: 'mount',
        what: '',
        fstype: 't',
        source: 's',
        target: '/',
        flags: [flag],
        data: '',
      };
      const plan = decoded(encodePlan(planOf([op])));
      expect(plan.number((plan.phases[1]?.at ?? 0) + 8 + 3 * 8), name).toBe(Number(bit));
    }
  });

  test('writes a header that describes its regions', () => {
    const op: Op = {
      op: 'exec',
      what: '',
      paths: ['/bin/sh'],
      argv: ['sh', '-c', 'äöü'],
      env: [],
      optional: true,
    };
    const bytes = encodePlan(
      planOf([op], { cgroupDirectory: '/sys/fs/cgroup/x', namespaces: ['mount', 'pid'] }),
    );
    const plan = decoded(bytes);
    expect(bytes.length).toBe(plan.size);
    expect(bytes[bytes.length - 1]).toBe(0);
    expect(plan.buffer.toString('latin1', 0, 8)).toBe('TINYRPLN');
    expect(plan.number(5 * 8)).toBe(0x20020000);
    expect([plan.text(plan.number(10 * 8)), plan.text(plan.number(11 * 8))]).toEqual(['abc', '/state.json']);
    expect(plan.number(12 * 8)).toBe(0);
    expect(plan.text(plan.number(16 * 8))).toBe('/sys/fs/cgroup/x');
    expect(plan.phases.map(({ count }) => count)).toEqual([0, 1, 0, 0, 0, 0]);
    const at = plan.phases[1]?.at ?? 0;
    expect([plan.buffer.readUInt32LE(at), plan.buffer.readUInt32LE(at + 4)]).toEqual([FORMS.exec.code, 1]);
    expect([8, 16, 24].map((slot) => plan.list(plan.number(at + slot)))).toEqual([
      ['/bin/sh'],
      ['sh', '-c', 'äöü'],
      [],
    ]);
    expect([plan.listsAt - at, plan.dataAt - plan.listsAt]).toEqual([64, (2 + 4 + 1) * 8]);
  });

  test('writes bytes aligned, with their length', () => {
    const messages = Uint8Array.of(1, 2, 3, 4, 5);
    const op: Op = { op: 'netlink', what: '', protocol: 'netfilter', messages, pidOffset: 1 };
    const plan = decoded(encodePlan(planOf([], { connect: [op] })));
    const at = plan.phases[2]?.at ?? 0;
    const [protocol, start = 0, length = 0, pidOffset] = [8, 16, 24, 32].map((slot) =>
      plan.number(at + slot),
    );
    expect([protocol, length, pidOffset, start % 8]).toEqual([12, 5, 1, 0]);
    expect([...plan.buffer.subarray(start, start + length)]).toEqual([...messages]);
  });

  test('holds numbers of 64 bits', () => {
    const infinity = 2n ** 64n - 1n;
    const op: Op = { op: 'rlimit', what: '', resource: 'RLIMIT_CORE', soft: 0n, hard: infinity };
    const plan = decoded(encodePlan(planOf([op])));
    const at = plan.phases[1]?.at ?? 0;
    expect(plan.number(at + 8)).toBe(4);
    expect(plan.buffer.readBigUInt64LE(at + 24)).toBe(infinity);
  });

  test('grows beyond its first buffer', () => {
    const long = 'x'.repeat(200_000);
    const op: Op = { op: 'exec', what: '', paths: ['/x'], argv: ['x', long], env: [`A=${long}`] };
    const plan = decoded(encodePlan(planOf([op])));
    const at = plan.phases[1]?.at ?? 0;
    expect(plan.list(plan.number(at + 16))[1]).toBe(long);
    expect(plan.list(plan.number(at + 24))).toEqual([`A=${long}`]);
  });

  test('counts bytes, not characters', () => {
    const op: Op = {
      op: 'exec',
      what: '',
      paths: ['/\u00e4'],
      argv: ['\u20ac', '\u{1f600}', '\ud800'],
      env: ['A=b'],
    };
    const plan = decoded(encodePlan(planOf([op])));
    const at = plan.phases[1]?.at ?? 0;
    expect(plan.list(plan.number(at + 8))).toEqual(['/\u00e4']);
    expect(plan.list(plan.number(at + 16))).toEqual(['\u20ac', '\u{1f600}', '\ufffd']);
    expect(plan.list(plan.number(at + 24))).toEqual(['A=b']);
  });

  test('refuses numbers of more than 64 bits', () => {
    const op: Op = { op: 'rlimit', what: '', resource: 'RLIMIT_CORE', soft: 0n, hard: 2n ** 64n };
    expect(() => encodePlan(planOf([op]))).toThrow('does not fit');
    expect(() => encodePlan(planOf([{ ...op, hard: -1n }]))).toThrow('does not fit');
  });

  test('refuses a NUL byte and an unknown resource', () => {
    const hostile: Op = { op: 'hostname', what: 'set the host name', name: 'a\0b' };
    expect(() => encodePlan(planOf([hostile]))).toThrow(
      'Cannot set the host name: a value contains a NUL byte',
    );
    const unknown: Op = { op: 'rlimit', what: '', resource: 'RLIMIT_X', soft: 1n, hard: 1n };
    expect(() => encodePlan(planOf([unknown]))).toThrow('unknown resource');
  });
});

describe('explainPlan()', () => {
  test('says every op in a line', () => {
    const plan = planOf(
      [
        {
          op: 'mknod',
          what: 'make "/dev/null"',
          path: '/dev/null',
          type: 'c',
          mode: 0o666,
          major: 1,
          minor: 3,
          uid: 0,
          gid: 0,
        },
        { op: 'boundingCaps', what: 'drop capabilities', mask: 0xa80425fbn, optional: true },
      ],
      { namespaces: ['mount', 'pid'] },
    );
    expect(explainPlan(plan).split('\n')).toEqual([
      'namespaces mount pid',
      'child     0  mknod           make "/dev/null"  path="/dev/null" type="c" mode=438 major=1 minor=3 uid=0 gid=0',
      'child     1  boundingCaps    drop capabilities (optional)  mask=0xa80425fb',
      '',
    ]);
  });
});
