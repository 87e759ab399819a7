import { describe, expect, test } from 'vitest';
import type { Op } from '../../../src/native/plan.ts';
import type { Spec } from '../../../src/oci/runtime-spec.ts';
import { compileExec, type ExecInput } from '../../../src/runtime/exec.ts';

const CAPS = ['CAP_CHOWN'];
const PROCESS: Spec['process'] = {
  user: { uid: 0, gid: 0, additionalGids: [0] },
  args: ['sh'],
  env: ['PATH=/bin'],
  cwd: '/app',
  capabilities: { bounding: CAPS, effective: CAPS, permitted: CAPS, inheritable: [], ambient: [] },
};
const SPEC: Spec = {
  ociVersion: '1.2.0',
  process: PROCESS,
  root: { path: '/r' },
  mounts: [],
  linux: {
    namespaces: [
      { type: 'mount' },
      { type: 'network', path: '/proc/9/ns/net' },
      { type: 'pid' },
      { type: 'cgroup' },
    ],
  },
};

function plan(changes: Partial<ExecInput> = {}, process: Partial<Spec['process']> = {}) {
  return compileExec(SPEC, {
    id: 'e'.repeat(64),
    statePath: '/run/exec/e/state.json',
    process: { ...PROCESS, ...process },
    target: '/proc/1/fd/7',
    cgroup: { child: [{ op: 'writeFile', what: 'join', path: '/cg/tasks', text: '0' }] },
    openStdin: false,
    withClient: false,
    ...changes,
  });
}

const only = <K extends Op['op']>(ops: readonly Op[], kind: K) =>
  ops.filter((op): op is Extract<Op, { op: K }> => op.op === kind);
const brief = (ops: readonly Op[]) =>
  ops.map((op) => op.op).filter((name, index, all) => name !== all[index - 1]);

describe('compileExec()', () => {
  test('joins cgroups while the host’s files are there, then the namespaces, the root last', () => {
    const { child, namespaces, prepare, connect } = plan({}, { terminal: true, oomScoreAdj: 5 });
    expect(brief(child)).toEqual([
      'writeFile',
      'joinNamespace',
      'console',
      'umask',
      'cwd',
      'boundingCaps',
      'user',
      'caps',
      'exec',
    ]);
    expect(only(child, 'writeFile').map(({ path }) => path)).toEqual([
      '/cg/tasks',
      '/proc/self/oom_score_adj',
    ]);
    expect({ namespaces, prepare, connect }).toEqual({ namespaces: [], prepare: [], connect: [] });
  });

  test('joins what the container does not share with the host, of its own process', () => {
    expect(only(plan().child, 'joinNamespace').map(({ type, path }) => [type, path])).toEqual([
      ['cgroup', '/proc/1/fd/7/ns/cgroup'],
      ['network', '/proc/1/fd/7/ns/net'],
      ['pid', '/proc/1/fd/7/ns/pid'],
      ['mount', '/proc/1/fd/7/ns/mnt'],
    ]);
  });

  test('makes no working directory', () => {
    expect(only(plan().child, 'cwd')).toMatchObject([{ path: '/app', create: false }]);
  });

  test('is born in the cgroup v2 directory', () => {
    const { cgroupDirectory, child } = plan({ cgroup: { child: [], cgroupDirectory: '/sys/fs/cgroup/x' } });
    expect(cgroupDirectory).toBe('/sys/fs/cgroup/x');
    expect(only(child, 'writeFile')).toEqual([]);
  });

  test('filters system calls before the rights go where no_new_privs does not hold', () => {
    const seccompProgram = new Uint8Array([1]);
    const names = (ops: readonly Op[]) =>
      brief(ops).filter((name) => name === 'seccomp' || name === 'user' || name === 'noNewPrivileges');
    expect(names(plan({ seccompProgram }).child)).toEqual(['seccomp', 'user']);
    expect(names(plan({ seccompProgram }, { noNewPrivileges: true }).child)).toEqual([
      'user',
      'noNewPrivileges',
      'seccomp',
    ]);
  });

  test('never kills the container’s cgroup and leaves no state behind', () => {
    const { monitor, cleanup } = plan({ openStdin: true, withClient: true });
    expect(monitor).toEqual({
      id: 'e'.repeat(64),
      statePath: '/run/exec/e/state.json',
      tty: false,
      openStdin: true,
      stdinOnce: true,
      withClient: true,
    });
    expect(cleanup).toMatchObject([{ op: 'unlink', path: '/run/exec/e/state.json' }]);
  });
});
