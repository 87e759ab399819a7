import { describe, expect, test } from 'vitest';
import type { CreateOptions } from '../../../src/engine/options.ts';
import { containerSpec, type SpecInput } from '../../../src/engine/spec.ts';
import type { ProcessDefaults } from '../../../src/oci/image-spec.ts';
import { DEFAULT_CAPABILITIES } from '../../../src/runtime/capabilities.ts';

const ID = 'a1b2c3d4e5f6'.padEnd(64, '0');
const DEFAULT_PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

const OPTIONS: CreateOptions = {
  image: 'busybox',
  command: [],
  env: [],
  labels: {},
  annotations: {},
  groupAdd: [],
  tty: false,
  openStdin: false,
  attach: [],
  remove: false,
  init: false,
  readonlyRootfs: false,
  privileged: false,
  capAdd: [],
  capDrop: [],
  securityOpt: [],
  mounts: [],
  devices: [],
  deviceCgroupRules: [],
  ulimits: [],
  sysctls: {},
  pidMode: 'private',
  ipcMode: 'private',
  utsMode: 'private',
  cgroupnsMode: 'private',
  network: {
    mode: { type: 'none' },
    publish: [],
    publishAll: false,
    expose: [],
    dns: [],
    dnsSearch: [],
    dnsOptions: [],
    extraHosts: [],
  },
  limits: {},
  logDriver: 'json-file',
  logOptions: {},
};

function specOf(
  options: Partial<CreateOptions> = {},
  image: ProcessDefaults = { Cmd: ['sh'] },
  more: Partial<SpecInput> = {},
) {
  return containerSpec({
    id: ID,
    image: {
      architecture: 'amd64',
      os: 'linux',
      config: image,
      rootfs: { type: 'layers', diff_ids: [] },
      history: [],
    },
    options: { ...OPTIONS, ...options },
    account: { uid: 0, gid: 0, groups: [0, 10], home: '/root' },
    resources: {},
    cgroupsPath: `/tinyrun/${ID}`,
    rootfs: '/var/lib/tinyrun/containers/x/rootfs',
    etc: { hosts: '/c/hosts', hostname: '/c/hostname', resolvConf: '/c/resolv.conf' },
    networkNamespace: { type: 'new' },
    hostLimits: [],
    devices: [],
    ...more,
  });
}

const mountAt = (spec: ReturnType<typeof specOf>, path: string) =>
  spec.mounts.find((mount) => mount.destination === path);

describe('containerSpec() arguments', () => {
  const image = { Entrypoint: ['/entry', '-x'], Cmd: ['cmd', 'arg'] };
  test.each<[string, ProcessDefaults, Partial<CreateOptions>, string[]]>([
    ['entrypoint and cmd of the image', image, {}, ['/entry', '-x', 'cmd', 'arg']],
    ['a command replaces cmd', image, { command: ['other'] }, ['/entry', '-x', 'other']],
    ['an entrypoint drops both', image, { entrypoint: ['/mine'] }, ['/mine']],
    ['an entrypoint with a command', image, { entrypoint: ['/mine'], command: ['a'] }, ['/mine', 'a']],
    ['an empty entrypoint with a command', image, { entrypoint: [''], command: ['a', 'b'] }, ['a', 'b']],
    ['no entrypoint at all with a command', image, { entrypoint: [], command: ['a'] }, ['a']],
    ['cmd alone', { Cmd: ['sh'] }, {}, ['sh']],
    ['entrypoint alone', { Entrypoint: ['/e'] }, {}, ['/e']],
  ])('%s', (_name, config, options, args) => {
    expect(specOf(options, config).process.args).toEqual(args);
  });

  test.each<[string, ProcessDefaults, Partial<CreateOptions>]>([
    ['an image without any', {}, {}],
    ['an empty entrypoint without a command', image, { entrypoint: [''] }],
  ])('refuses %s', (_name, config, options) => {
    expect(() => specOf(options, config)).toThrow('no command specified');
  });
});

describe('containerSpec() environment', () => {
  const base = [DEFAULT_PATH, 'HOSTNAME=a1b2c3d4e5f6'];
  test.each<[string, readonly string[], Partial<CreateOptions>, string[]]>([
    ['defaults', [], {}, [...base, 'HOME=/root']],
    ['a terminal', [], { tty: true }, [...base, 'TERM=xterm', 'HOME=/root']],
    ['of the image', ['A=1'], {}, [...base, 'A=1', 'HOME=/root']],
    ['PATH of the image, in place', ['PATH=/x'], {}, ['PATH=/x', base[1] ?? '', 'HOME=/root']],
    [
      'the user over the image',
      ['A=1', 'B=2'],
      { env: ['A=9', 'C=3'] },
      [...base, 'A=9', 'C=3', 'B=2', 'HOME=/root'],
    ],
    ['the later of two', [], { env: ['A=1', 'A=2'] }, [...base, 'A=2', 'HOME=/root']],
    ['a name alone removes', ['A=1'], { env: ['A', 'HOSTNAME'] }, [DEFAULT_PATH, 'HOME=/root']],
    ['HOME given', [], { env: ['HOME=/h'] }, [...base, 'HOME=/h']],
    ['HOME empty in the image', ['HOME='], {}, [...base, 'HOME=/root']],
    ['an equals sign in the value', [], { env: ['A=b=c'] }, [...base, 'A=b=c', 'HOME=/root']],
    ['nonsense in the image is dropped', ['', '=x'], {}, [...base, 'HOME=/root']],
    ['the host name given', [], { hostname: 'me' }, [DEFAULT_PATH, 'HOSTNAME=me', 'HOME=/root']],
  ])('%s', (_name, env, options, expected) => {
    expect(specOf(options, { Cmd: ['sh'], Env: env }).process.env).toEqual(expected);
  });

  test.each(['=x', '', 'A=\0'])('refuses %j', (entry) => {
    expect(() => specOf({ env: [entry] })).toThrow('invalid environment variable');
  });
});

describe('containerSpec() working directory', () => {
  test.each([
    [undefined, undefined, '/'],
    [undefined, '/app', '/app'],
    ['/w', '/app', '/w'],
    ['/a//b/../c/./', undefined, '/a/c'],
    ['/../..', undefined, '/'],
    ['', '/app', '/app'],
  ])('%j over %j is %s', (workingDir, image, expected) => {
    const options = workingDir === undefined ? {} : { workingDir };
    const config = image === undefined ? { Cmd: ['sh'] } : { Cmd: ['sh'], WorkingDir: image };
    expect(specOf(options, config).process.cwd).toBe(expected);
  });

  test('refuses a relative one', () => {
    expect(() => specOf({ workingDir: 'x' })).toThrow(
      "the working directory 'x' is invalid, it needs to be an absolute path",
    );
  });
});

describe('containerSpec() user and capabilities', () => {
  test('gives root the 14 default capabilities, inheritable and ambient none', () => {
    expect(specOf().process.capabilities).toEqual({
      bounding: DEFAULT_CAPABILITIES,
      effective: DEFAULT_CAPABILITIES,
      permitted: DEFAULT_CAPABILITIES,
      inheritable: [],
      ambient: [],
    });
    expect(specOf().process.user).toEqual({ uid: 0, gid: 0, additionalGids: [0, 10] });
  });

  test('gives a user who is not root none but in the bounding set', () => {
    const account = { uid: 1000, gid: 5, groups: [5], home: '/h' };
    expect(specOf({ capAdd: ['SYS_TIME'] }, undefined, { account }).process.capabilities).toEqual({
      bounding: [...DEFAULT_CAPABILITIES, 'CAP_SYS_TIME'],
      effective: [],
      permitted: [],
      inheritable: [],
      ambient: [],
    });
  });

  test('sets no_new_privs on request only', () => {
    expect(specOf().process.noNewPrivileges).toBe(false);
    expect(specOf({ securityOpt: [{ type: 'no-new-privileges', on: true }] }).process.noNewPrivileges).toBe(
      true,
    );
    expect(specOf({ securityOpt: [{ type: 'no-new-privileges', on: false }] }).process.noNewPrivileges).toBe(
      false,
    );
  });
});

describe('containerSpec() namespaces', () => {
  const types = (options: Partial<CreateOptions>, more: Partial<SpecInput> = {}) =>
    specOf(options, undefined, more).linux.namespaces.map(({ type, path }) =>
      path ? `${type}:${path}` : type,
    );

  test('are all private by default', () => {
    expect(types({})).toEqual(['mount', 'network', 'uts', 'pid', 'ipc', 'cgroup']);
  });

  test('are the host’s where asked', () => {
    expect(
      types(
        { pidMode: 'host', ipcMode: 'host', utsMode: 'host', cgroupnsMode: 'host' },
        { networkNamespace: { type: 'host' } },
      ),
    ).toEqual(['mount']);
  });

  test('join those of other containers', () => {
    expect(
      types(
        { pidMode: 'container:a', ipcMode: 'container:a' },
        { joined: { pid: '/proc/7/ns/pid', ipc: '/proc/7/ns/ipc' } },
      ),
    ).toEqual(expect.arrayContaining(['pid:/proc/7/ns/pid', 'ipc:/proc/7/ns/ipc']));
    expect(mountAt(specOf({ ipcMode: 'container:a' }), '/dev/shm')).toBeUndefined();
  });

  test('join a network', () => {
    expect(types({}, { networkNamespace: { type: 'path', path: '/proc/7/ns/net' } })).toContain(
      'network:/proc/7/ns/net',
    );
  });

  test('sysctls for the network come with a new network only', () => {
    expect(specOf().linux.sysctl).toEqual({
      'net.ipv4.ping_group_range': '0 2147483647',
      'net.ipv4.ip_unprivileged_port_start': '0',
    });
    expect(specOf({}, undefined, { networkNamespace: { type: 'host' } }).linux.sysctl).toBeUndefined();
    expect(specOf({ sysctls: { 'net.ipv4.ip_unprivileged_port_start': '80' } }).linux.sysctl).toMatchObject({
      'net.ipv4.ip_unprivileged_port_start': '80',
    });
  });

  test('the host’s refuse names and sysctls', () => {
    expect(specOf({ utsMode: 'host' }).hostname).toBeUndefined();
    expect(() => specOf({ utsMode: 'host', hostname: 'x' })).toThrow(
      'conflicting options: hostname and the UTS mode',
    );
    expect(() => specOf({ ipcMode: 'host', sysctls: { 'kernel.sem': '1' } })).toThrow('hosts ipc namespace');
    expect(() =>
      specOf({ sysctls: { 'net.core.somaxconn': '1' } }, undefined, { networkNamespace: { type: 'host' } }),
    ).toThrow('not allowed in host network namespace');
  });
});

describe('containerSpec() host name', () => {
  test.each([
    ['short id', {}, {}, 'a1b2c3d4e5f6'],
    ['given', { hostname: 'web' }, {}, 'web'],
    ['of the host', {}, { defaultHostname: 'box' }, 'box'],
    ['given over the host’s', { hostname: 'web' }, { defaultHostname: 'box' }, 'web'],
  ])('%s', (_name, options, more, expected) => {
    expect(specOf(options, undefined, more).hostname).toBe(expected);
  });

  test.each(['a b', '-x', 'x'.repeat(64), 'a\nb', 'a/b'])('refuses %j', (hostname) => {
    expect(() => specOf({ hostname })).toThrow(`invalid hostname format: ${hostname}`);
  });
});

describe('containerSpec() mounts', () => {
  test('are Docker’s, in order', () => {
    expect(specOf().mounts).toEqual([
      { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
      {
        destination: '/dev',
        type: 'tmpfs',
        source: 'tmpfs',
        options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
      },
      {
        destination: '/dev/pts',
        type: 'devpts',
        source: 'devpts',
        options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
      },
      { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', 'ro'] },
      {
        destination: '/sys/fs/cgroup',
        type: 'cgroup',
        source: 'cgroup',
        options: ['ro', 'nosuid', 'noexec', 'nodev'],
      },
      {
        destination: '/dev/mqueue',
        type: 'mqueue',
        source: 'mqueue',
        options: ['nosuid', 'noexec', 'nodev'],
      },
      {
        destination: '/dev/shm',
        type: 'tmpfs',
        source: 'shm',
        options: ['nosuid', 'noexec', 'nodev', 'mode=1777', 'size=67108864'],
      },
      {
        destination: '/etc/resolv.conf',
        type: 'bind',
        source: '/c/resolv.conf',
        options: ['rbind', 'rprivate'],
      },
      { destination: '/etc/hostname', type: 'bind', source: '/c/hostname', options: ['rbind', 'rprivate'] },
      { destination: '/etc/hosts', type: 'bind', source: '/c/hosts', options: ['rbind', 'rprivate'] },
    ]);
  });

  const bind = {
    type: 'bind',
    source: '/s',
    readonly: false,
    recursive: true,
    createSource: true,
    options: [],
  } as const;
  test.each([
    ['plain', {}, ['rbind', 'rprivate']],
    ['read-only', { readonly: true }, ['rbind', 'rro', 'rprivate']],
    ['not recursive', { recursive: false }, ['bind', 'rprivate']],
    ['read-only, not recursive', { recursive: false, readonly: true }, ['bind', 'ro', 'rprivate']],
    ['read-only at the top', { readonly: true, options: ['ro-nonrecursive'] }, ['rbind', 'ro', 'rprivate']],
    ['propagation', { propagation: 'rslave' }, ['rbind', 'rslave']],
    ['labels and hints', { options: ['z', 'consistent', 'nosuid'] }, ['rbind', 'rprivate', 'nosuid']],
  ])('bind: %s', (_name, more, options) => {
    const spec = specOf({ mounts: [{ ...bind, target: '/data/', ...more }] });
    expect(mountAt(spec, '/data')).toEqual({ destination: '/data', type: 'bind', source: '/s', options });
  });

  test.each([
    ['defaults', [], ['noexec', 'nosuid', 'nodev', 'rprivate']],
    [
      'size and mode',
      ['size=64m', 'mode=1770'],
      ['noexec', 'nosuid', 'nodev', 'rprivate', 'size=64m', 'mode=1770'],
    ],
    ['exec undoes noexec', ['exec', 'rw'], ['nosuid', 'nodev', 'rprivate', 'exec', 'rw']],
    ['the last of two', ['size=1m', 'size=2m'], ['noexec', 'nosuid', 'nodev', 'rprivate', 'size=2m']],
  ])('tmpfs: %s', (_name, given, options) => {
    const spec = specOf({ mounts: [{ type: 'tmpfs', target: '/t', options: given }] });
    expect(mountAt(spec, '/t')).toEqual({ destination: '/t', type: 'tmpfs', source: 'tmpfs', options });
  });

  test('sort by depth, parents first', () => {
    const spec = specOf({
      mounts: [
        { ...bind, target: '/a/b/c' },
        { ...bind, target: '/a' },
        { ...bind, target: '/a/b' },
      ],
    });
    const own = spec.mounts.map((mount) => mount.destination).filter((path) => path.startsWith('/a'));
    expect(own).toEqual(['/a', '/a/b', '/a/b/c']);
  });

  test('of the user replace the defaults, and all of /dev', () => {
    const spec = specOf({
      mounts: [
        { ...bind, target: '/dev' },
        { ...bind, target: '/etc/hosts' },
      ],
    });
    expect(spec.mounts.filter((mount) => mount.destination.startsWith('/dev'))).toHaveLength(1);
    expect(spec.mounts.filter((mount) => mount.destination === '/etc/hosts')).toEqual([
      { destination: '/etc/hosts', type: 'bind', source: '/s', options: ['rbind', 'rprivate'] },
    ]);
  });

  test('shared memory follows --ipc and --shm-size', () => {
    expect(mountAt(specOf({ shmSize: 4096 }), '/dev/shm')?.options).toContain('size=4096');
    expect(mountAt(specOf({ ipcMode: 'none' }), '/dev/shm')).toBeUndefined();
    expect(mountAt(specOf({ ipcMode: 'host' }), '/dev/shm')).toMatchObject({
      type: 'bind',
      source: '/dev/shm',
    });
  });

  test('with a read-only root leave writable what must be', () => {
    const spec = specOf({ readonlyRootfs: true, mounts: [{ type: 'tmpfs', target: '/tmp', options: [] }] });
    expect(spec.root.readonly).toBe(true);
    const writable = spec.mounts
      .filter((mount) => !mount.options?.includes('ro'))
      .map((mount) => mount.destination);
    expect(writable).toEqual(['/proc', '/dev', '/dev/pts', '/dev/mqueue', '/dev/shm', '/tmp']);
  });

  test.each([
    ['twice', ['/a', '/a/'], 'Duplicate mount point: /a'],
    ['on the root', ['/'], "destination can't be '/'"],
    ['on a relative path', ['a'], "invalid mount path: 'a' mount path must be absolute"],
  ])('are refused %s', (_name, targets, message) => {
    expect(() => specOf({ mounts: targets.map((target) => ({ ...bind, target })) })).toThrow(message);
  });
});

describe('containerSpec() protections', () => {
  const MASKED = [
    '/proc/acpi',
    '/proc/asound',
    '/proc/interrupts',
    '/proc/kcore',
    '/proc/keys',
    '/proc/latency_stats',
    '/proc/sched_debug',
    '/proc/scsi',
    '/proc/timer_list',
    '/proc/timer_stats',
    '/sys/devices/virtual/powercap',
    '/sys/firmware',
  ];
  const READONLY = ['/proc/bus', '/proc/fs', '/proc/irq', '/proc/sys', '/proc/sysrq-trigger'];

  test('mask and protect what Docker does', () => {
    const { linux } = specOf({}, undefined, { extraMaskedPaths: ['/sys/x'] });
    expect(linux.maskedPaths).toEqual([...MASKED, '/sys/x']);
    expect(linux.readonlyPaths).toEqual(READONLY);
  });

  test('are lifted one by one', () => {
    const one = specOf({ securityOpt: [{ type: 'unmask', paths: ['/proc/sys', '/proc/acpi'] }] }).linux;
    expect(one.maskedPaths).toEqual(MASKED.slice(1));
    expect(one.readonlyPaths).not.toContain('/proc/sys');
    const all = specOf({ securityOpt: [{ type: 'unmask', paths: 'all' }] }).linux;
    expect([all.maskedPaths, all.readonlyPaths]).toEqual([[], []]);
    expect(specOf({ securityOpt: [{ type: 'mask', paths: ['/proc/x'] }] }).linux.maskedPaths).toEqual([
      ...MASKED,
      '/proc/x',
    ]);
  });

  test('devices are denied but for the standard ones, then as asked', () => {
    const rules = specOf({ deviceCgroupRules: ['c 10:* rw'] }, undefined, {
      deviceRules: [{ allow: true, type: 'b', major: 8, minor: 0, access: 'r' }],
    }).linux.resources?.devices;
    expect(rules?.[0]).toEqual({ allow: false, access: 'rwm' });
    expect(rules?.slice(-2)).toEqual([
      { allow: true, type: 'b', major: 8, minor: 0, access: 'r' },
      { allow: true, type: 'c', major: 10, minor: -1, access: 'rw' },
    ]);
    expect(() => specOf({ deviceCgroupRules: ['x 1:2 r'] })).toThrow(
      "invalid device cgroup rule format: 'x 1:2 r'",
    );
  });

  test('are off for a privileged container', () => {
    const spec = specOf({ privileged: true }, undefined, { hostCapabilities: 0x1fffeffffffn });
    expect(spec.linux.maskedPaths).toEqual([]);
    expect(spec.linux.readonlyPaths).toEqual([]);
    expect(spec.linux.resources?.devices).toEqual([{ allow: true, access: 'rwm' }]);
    expect(spec.process.capabilities.bounding).toHaveLength(40);
    expect(mountAt(spec, '/sys')?.options).not.toContain('ro');
    expect(mountAt(spec, '/sys/fs/cgroup')?.options).not.toContain('ro');
  });

  test('oom_score_adj is bounded', () => {
    expect(specOf({ limits: { oomScoreAdj: 500 } }).process.oomScoreAdj).toBe(500);
    expect(() => specOf({ limits: { oomScoreAdj: 1001 } })).toThrow(
      'Invalid value 1001, range for oom score adj is [-1000, 1000]',
    );
  });
});
