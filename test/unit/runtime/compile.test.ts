import { describe, expect, test } from 'vitest';
import type { Op } from '../../../src/native/plan.ts';
import type { Spec } from '../../../src/oci/runtime-spec.ts';
import { type CompileInput, compile } from '../../../src/runtime/compile.ts';

const CAPS = ['CAP_CHOWN', 'CAP_KILL'];
const NONE = { prepare: [], child: [], connect: [], release: [] };
const PROGRAM = new Uint8Array([1, 2, 3]);

interface Changes {
  readonly process?: Partial<Spec['process']>;
  readonly linux?: Partial<Spec['linux']>;
  readonly spec?: Partial<Spec>;
  readonly input?: Partial<CompileInput>;
}

function plan(changes: Changes = {}) {
  const spec: Spec = {
    ociVersion: '1.2.0',
    process: {
      user: { uid: 0, gid: 0, additionalGids: [0] },
      args: ['sh', '-c', 'true'],
      env: ['PATH=/usr/bin:relative::/bin'],
      cwd: '/',
      capabilities: { bounding: CAPS, effective: CAPS, permitted: CAPS, inheritable: [], ambient: [] },
      ...changes.process,
    },
    root: { path: '/r' },
    hostname: 'box',
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
      { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'strictatime', 'mode=755'] },
    ],
    ...changes.spec,
    linux: {
      namespaces: [
        { type: 'mount' },
        { type: 'network' },
        { type: 'uts' },
        { type: 'pid' },
        { type: 'ipc' },
        { type: 'cgroup' },
      ],
      maskedPaths: ['/proc/kcore'],
      readonlyPaths: ['/proc/sys'],
      sysctl: { 'net.ipv4.ip_unprivileged_port_start': '0' },
      ...changes.linux,
    },
  };
  return compile(spec, {
    id: 'a'.repeat(64),
    paths: { statePath: '/c/state.json', attachSocket: '/run/attach.sock' },
    log: { path: '/c/log', maxBytes: 10, maxFiles: 2 },
    overlay: { lower: ['/l2', '/l1'], upper: '/u', work: '/w' },
    cgroup: { prepare: [], child: [], cleanup: [], directories: {} },
    network: NONE,
    openStdin: false,
    stdinOnce: false,
    init: false,
    extraPrepare: [],
    extraRelease: [],
    extraCleanup: [],
    ...changes.input,
  });
}

const names = (ops: readonly Op[]) => ops.map((op) => op.op);
const brief = (ops: readonly Op[]) => names(ops).filter((name, index, all) => name !== all[index - 1]);
const marker = (what: string): Op => ({ op: 'unlink', what, path: `/${what}` });
const only = <K extends Op['op']>(ops: readonly Op[], kind: K) =>
  ops.filter((op): op is Extract<Op, { op: K }> => op.op === kind);

describe('compile() order', () => {
  test('of the child is runc’s', () => {
    const { child } = plan({
      process: {
        terminal: true,
        cwd: '/app',
        rlimits: [{ type: 'RLIMIT_NOFILE', soft: 1, hard: 2 }],
        oomScoreAdj: 5,
      },
      spec: { domainname: 'lan', root: { path: '/r', readonly: true } },
      input: {
        cgroup: {
          prepare: [],
          child: [{ op: 'writeFile', what: 'join', path: '/cg/tasks', text: '0' }],
          cleanup: [],
          directories: {},
        },
        network: { ...NONE, child: [marker('lo')], connect: [marker('veth')] },
        seccompProgram: PROGRAM,
        init: true,
      },
    });
    expect(brief(child)).toEqual([
      'writeFile', // the cgroup
      'unshare',
      'writeFile', // oom_score_adj
      'rootPropagation',
      'overlay',
      'mount',
      'mknod',
      'symlinkInRoot',
      'await',
      'unlink', // the network's
      'pivotRoot',
      'console',
      'cwd',
      'readonlyRoot',
      'umask',
      'hostname',
      'domainname',
      'sysctl',
      'readonlyPath',
      'maskPath',
      'rlimit',
      'cwd',
      'boundingCaps',
      'seccomp',
      'user',
      'caps',
      'init',
      'exec',
    ]);
  });

  test('has seccomp last with no_new_privs, and before the capabilities go without', () => {
    const tail = (noNewPrivileges: boolean) =>
      names(plan({ process: { noNewPrivileges }, input: { seccompProgram: PROGRAM } }).child).slice(-6);
    expect(tail(false)).toEqual(['cwd', 'boundingCaps', 'seccomp', 'user', 'caps', 'exec']);
    expect(tail(true)).toEqual(['boundingCaps', 'user', 'caps', 'noNewPrivileges', 'seccomp', 'exec']);
  });

  test('of the monitor’s lists', () => {
    const { prepare, connect, release, cleanup } = plan({
      input: {
        extraPrepare: [marker('e1')],
        extraRelease: [marker('e2')],
        extraCleanup: [marker('e3')],
        cgroup: { prepare: [marker('c1')], child: [], cleanup: [marker('c2')], directories: {} },
        network: { prepare: [marker('n1')], child: [], connect: [marker('n2')], release: [marker('n3')] },
      },
    });
    const whats = (ops: readonly Op[]) => ops.map((op) => op.what);
    expect([prepare, connect, release, cleanup].map(whats)).toEqual([
      ['e1', 'c1', 'n1'],
      ['n2'],
      ['n3', 'e2'],
      ['c2', 'e3'],
    ]);
  });

  test('has no init where pid 1 is the host’s', () => {
    const linux = { namespaces: [{ type: 'mount' }, { type: 'network' }, { type: 'uts' }] } as const;
    expect(names(plan({ linux, input: { init: true } }).child)).not.toContain('init');
  });

  test('does not wait for a network that nobody connects', () => {
    expect(names(plan().child)).not.toContain('await');
  });
});

describe('compile() monitor', () => {
  test('takes log, socket, stdio and cgroup files', () => {
    expect(
      plan({
        process: { terminal: true },
        input: {
          openStdin: true,
          stdinOnce: true,
          cgroup: {
            prepare: [],
            child: [],
            cleanup: [],
            directories: {},
            cgroupDirectory: '/cg',
            oomPath: '/cg/memory.events',
            killPath: '/cg',
          },
        },
      }),
    ).toMatchObject({
      cgroupDirectory: '/cg',
      namespaces: ['mount', 'pid', 'uts', 'ipc', 'network'],
      monitor: {
        id: 'a'.repeat(64),
        statePath: '/c/state.json',
        log: { path: '/c/log', maxBytes: 10, maxFiles: 2 },
        attachSocket: '/run/attach.sock',
        tty: true,
        openStdin: true,
        stdinOnce: true,
        oomPath: '/cg/memory.events',
        killPath: '/cg',
      },
    });
  });
});

describe('compile() namespaces', () => {
  test('are joined where they have a path, the user namespace first', () => {
    const { child, namespaces } = plan({
      linux: {
        namespaces: [
          { type: 'mount' },
          { type: 'uts' },
          { type: 'network', path: '/proc/5/ns/net' },
          { type: 'user', path: '/proc/5/ns/user' },
        ],
        sysctl: {},
      },
    });
    expect(namespaces).toEqual(['mount', 'uts']);
    expect(only(child, 'joinNamespace').map(({ type, path }) => [type, path])).toEqual([
      ['user', '/proc/5/ns/user'],
      ['network', '/proc/5/ns/net'],
    ]);
  });

  test('of users are mapped', () => {
    const { child, namespaces } = plan({
      linux: {
        namespaces: [{ type: 'mount' }, { type: 'uts' }, { type: 'user' }],
        uidMappings: [{ containerID: 0, hostID: 100000, size: 65536 }],
        gidMappings: [{ containerID: 0, hostID: 100000, size: 65536 }],
        sysctl: {},
      },
    });
    expect(namespaces[0]).toBe('user');
    expect(child.slice(0, 2)).toMatchObject([
      { op: 'mapIds', uidMap: '0 100000 65536\n', gidMap: '0 100000 65536\n' },
      { op: 'await', tag: 'mapped' },
    ]);
  });

  test.each([['mount', 'Cannot join the mount namespace "/x": only new ones are supported']] as const)(
    'of type %s cannot be joined',
    (type, message) => {
      expect(() => plan({ linux: { namespaces: [{ type, path: '/x' }] } })).toThrow(message);
    },
  );
});

describe('compile() process', () => {
  test('tries every absolute directory of PATH', () => {
    expect(only(plan().child, 'exec')).toMatchObject([
      { paths: ['/usr/bin/sh', '/bin/sh'], argv: ['sh', '-c', 'true'] },
    ]);
  });

  test.each([
    ['/bin/x', '/w', ['/bin/x']],
    ['./x', '/w', ['/w/x']],
    ['a/x', '/', ['/a/x']],
  ])('takes %s in %s as it is', (name, cwd, paths) => {
    expect(only(plan({ process: { args: [name], cwd } }).child, 'exec')).toMatchObject([{ paths }]);
  });

  test('has Docker’s words for a name that PATH cannot find', () => {
    expect(() => plan({ process: { env: [] } })).toThrow('exec: "sh": executable file not found in $PATH');
  });

  test('keeps capabilities over setuid only where the spec has some for a user', () => {
    const user = { uid: 5, gid: 5 };
    const empty = { bounding: CAPS, effective: [], permitted: [], inheritable: [], ambient: [] };
    expect(only(plan({ process: { user } }).child, 'user')).toMatchObject([
      { uid: 5, keepCaps: true, groups: [] },
    ]);
    expect(only(plan({ process: { user, capabilities: empty } }).child, 'user')).toMatchObject([
      { keepCaps: false },
    ]);
    expect(only(plan().child, 'user')).toMatchObject([{ uid: 0, keepCaps: false, groups: [0] }]);
  });

  test('turns capabilities and rlimits into the kernel’s numbers', () => {
    const { child } = plan({ process: { rlimits: [{ type: 'RLIMIT_CORE', soft: 0, hard: 2 ** 64 }] } });
    expect(only(child, 'boundingCaps')).toMatchObject([{ mask: 0x21n }]);
    expect(only(child, 'caps')).toMatchObject([
      { effective: 0x21n, permitted: 0x21n, inheritable: 0n, ambient: 0n },
    ]);
    expect(only(child, 'rlimit')).toMatchObject([
      { resource: 'RLIMIT_CORE', soft: 0n, hard: 0xffffffffffffffffn },
    ]);
  });

  test.each([
    [undefined, 4],
    [[], 0],
    [['SECCOMP_FILTER_FLAG_LOG', 'SECCOMP_FILTER_FLAG_TSYNC'], 2],
  ])('seccomp flags %j are %i', (flags, expected) => {
    const seccomp = {
      defaultAction: 'SCMP_ACT_ALLOW',
      syscalls: [],
      ...(flags === undefined ? {} : { flags }),
    };
    const { child } = plan({ linux: { seccomp }, input: { seccompProgram: PROGRAM } });
    expect(only(child, 'seccomp')).toMatchObject([{ program: PROGRAM, flags: expected }]);
  });
});

describe('compile() mounts', () => {
  const mounted = (mounts: Spec['mounts'], input: Partial<CompileInput> = {}) => {
    const { child } = plan({ spec: { mounts }, input });
    return child.filter((op) => ['mount', 'bind', 'symlinkInRoot', 'readonlyPath'].includes(op.op));
  };

  test.each<[string, readonly string[], object]>([
    ['rbind', ['rbind', 'rprivate'], { recursive: true, flags: [], propagation: 'rprivate' }],
    ['bind', ['bind', 'ro'], { recursive: false, flags: ['ro'] }],
    [
      'recursively read-only',
      ['rbind', 'rro', 'rslave'],
      { flags: ['ro'], recursiveFlags: true, propagation: 'rslave' },
    ],
    ['other flags', ['rbind', 'nosuid', 'noexec', 'exec'], { flags: ['nosuid'] }],
  ])('bind: %s', (_name, options, expected) => {
    const [op] = mounted([{ destination: '/d', type: 'bind', source: '/s', options }]);
    expect(op).toMatchObject({ op: 'bind', source: '/s', target: '/d', ...expected });
  });

  test('hand file system options on', () => {
    const [op] = mounted([
      {
        destination: '/d',
        type: 'tmpfs',
        source: 'shm',
        options: ['nosuid', 'size=5', 'mode=1777', 'ro', 'rw'],
      },
    ]);
    expect(op).toMatchObject({
      op: 'mount',
      fstype: 'tmpfs',
      source: 'shm',
      flags: ['nosuid'],
      data: 'size=5,mode=1777',
    });
  });

  test('a read-only tmpfs with mounts in it is sealed after them', () => {
    const ops = mounted([
      { destination: '/d', type: 'tmpfs', options: ['ro'] },
      { destination: '/d/e', type: 'bind', source: '/s', options: ['rbind'] },
    ]);
    expect(ops[0]).toMatchObject({ op: 'mount', flags: [] });
    expect(only(ops, 'readonlyPath').map((op) => op.path)).toEqual(['/d', '/proc/sys']);
  });

  const cgroupMount = {
    destination: '/sys/fs/cgroup',
    type: 'cgroup',
    source: 'cgroup',
    options: ['ro', 'nosuid'],
  };
  test('cgroup on v2 is a cgroup2 of the namespace', () => {
    const cgroup = {
      prepare: [],
      child: [],
      cleanup: [],
      cgroupDirectory: '/cg',
      directories: { unified: '/cg' },
    };
    expect(mounted([cgroupMount], { cgroup })[0]).toMatchObject({
      op: 'mount',
      fstype: 'cgroup2',
      flags: ['ro', 'nosuid'],
    });
  });

  test('cgroup on v1 is one bind per hierarchy', () => {
    const directories = {
      cpu: '/h/cpu/x',
      cpuacct: '/h/cpu/x',
      memory: '/h/memory/x',
      'name=systemd': '/h/systemd/x',
    };
    const ops = mounted([cgroupMount], { cgroup: { prepare: [], child: [], cleanup: [], directories } });
    expect(ops).toMatchObject([
      { op: 'mount', fstype: 'tmpfs', target: '/sys/fs/cgroup', flags: ['nosuid'] },
      { op: 'bind', source: '/h/cpu/x', target: '/sys/fs/cgroup/cpu,cpuacct', flags: ['ro', 'nosuid'] },
      { op: 'symlinkInRoot', path: '/sys/fs/cgroup/cpu', target: 'cpu,cpuacct' },
      { op: 'symlinkInRoot', path: '/sys/fs/cgroup/cpuacct', target: 'cpu,cpuacct' },
      { op: 'bind', source: '/h/memory/x', target: '/sys/fs/cgroup/memory' },
      { op: 'bind', source: '/h/systemd/x', target: '/sys/fs/cgroup/systemd' },
      ...Array(6).fill({ op: 'symlinkInRoot' }),
      { op: 'readonlyPath', path: '/sys/fs/cgroup' },
      { op: 'readonlyPath', path: '/proc/sys' },
    ]);
  });

  test.each<[string, Spec['mounts'][number], string]>([
    ['over /proc', { destination: '/proc', type: 'tmpfs' }, 'it is inside /proc'],
    [
      'inside /proc',
      { destination: '/proc/self', type: 'bind', source: '/s', options: ['bind'] },
      'it is inside /proc',
    ],
    ['on the root', { destination: '/', type: 'tmpfs' }, "destination can't be '/'"],
    ['with ..', { destination: '/a/../b', type: 'tmpfs' }, 'without ".."'],
    ['relative', { destination: 'a', type: 'tmpfs' }, 'must be absolute'],
    [
      'with id mapping',
      { destination: '/a', type: 'bind', source: '/s', options: ['idmap'] },
      '"idmap" is not supported',
    ],
    ['without a source', { destination: '/a', type: 'bind' }, 'a bind mount needs a source'],
  ])('are refused %s', (_name, mount, message) => {
    expect(() => mounted([mount])).toThrow(message);
  });

  test('over files that lxcfs replaces are fine', () => {
    expect(
      mounted([{ destination: '/proc/meminfo', type: 'bind', source: '/s', options: ['bind'] }])[0],
    ).toMatchObject({
      target: '/proc/meminfo',
    });
  });
});

describe('compile() devices', () => {
  test('are the standard ones and the spec’s, whose mode wins', () => {
    const { child } = plan({
      linux: {
        devices: [
          { type: 'b', path: '/dev/sda', major: 8, minor: 0, fileMode: 0o660, uid: 0, gid: 6 },
          { type: 'c', path: '/dev/null', major: 1, minor: 3, fileMode: 0o600 },
        ],
      },
    });
    const nodes = only(child, 'mknod').map(({ path, type, mode, major, minor }) => [
      path,
      type,
      mode,
      major,
      minor,
    ]);
    expect(nodes).toEqual([
      ['/dev/sda', 'b', 0o660, 8, 0],
      ['/dev/null', 'c', 0o600, 1, 3],
      ['/dev/random', 'c', 0o666, 1, 8],
      ['/dev/full', 'c', 0o666, 1, 7],
      ['/dev/tty', 'c', 0o666, 5, 0],
      ['/dev/zero', 'c', 0o666, 1, 5],
      ['/dev/urandom', 'c', 0o666, 1, 9],
    ]);
    expect(only(child, 'symlinkInRoot').map(({ path, target }) => `${path} ${target}`)).toEqual([
      '/dev/ptmx pts/ptmx',
      '/dev/fd /proc/self/fd',
      '/dev/stdin /proc/self/fd/0',
      '/dev/stdout /proc/self/fd/1',
      '/dev/stderr /proc/self/fd/2',
      '/dev/core /proc/kcore',
    ]);
  });

  test('are not made in a /dev of the host', () => {
    const mounts = [{ destination: '/dev', type: 'bind', source: '/dev', options: ['rbind'] }];
    expect(only(plan({ spec: { mounts } }).child, 'mknod')).toEqual([]);
  });
});

describe('compile() refuses', () => {
  test.each<[string, Changes, string]>([
    ['no arguments', { process: { args: [] } }, 'no command specified'],
    ['a NUL byte', { process: { args: ['a\0b'] } }, 'NUL byte'],
    ['a relative cwd', { process: { cwd: 'x' } }, 'Cwd must be an absolute path: "x"'],
    ['a uid that wraps', { process: { user: { uid: 2 ** 32, gid: 0 } } }, 'Cannot use id 4294967296'],
    ['a uid of -1', { process: { user: { uid: 0xffffffff, gid: 0 } } }, 'Cannot use id 4294967295'],
    [
      'no mount namespace',
      { linux: { namespaces: [{ type: 'uts' }], sysctl: {} } },
      'without a mount namespace',
    ],
    [
      'a namespace twice',
      { linux: { namespaces: [{ type: 'mount' }, { type: 'mount' }] } },
      'it is there twice',
    ],
    [
      'a host name for the host',
      { linux: { namespaces: [{ type: 'mount' }], sysctl: {} } },
      'without a private UTS',
    ],
    [
      'a sysctl of the host',
      { linux: { sysctl: { 'vm.swappiness': '1' } } },
      'not in a separate kernel namespace',
    ],
    [
      'a user namespace without ids',
      { linux: { namespaces: [{ type: 'mount' }, { type: 'uts' }, { type: 'user' }], sysctl: {} } },
      'it has no mappings',
    ],
    [
      'an unknown capability',
      {
        process: {
          capabilities: { bounding: ['CAP_X'], effective: [], permitted: [], inheritable: [], ambient: [] },
        },
      },
      'unknown capability: "CAP_X"',
    ],
  ])('%s', (_name, changes, message) => {
    expect(() => plan(changes)).toThrow(message);
  });
});

test('compile() gives every op words that complete "Cannot …"', () => {
  const { child } = plan({
    process: { terminal: true, cwd: '/app' },
    input: { seccompProgram: PROGRAM, init: true },
  });
  for (const op of child) expect(op.what, op.op).toMatch(/^[a-z][a-z]+ .*[^.]$/);
});
