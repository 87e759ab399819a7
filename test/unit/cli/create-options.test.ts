import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { CREATE_FLAGS } from '../../../src/cli/create-flags.ts';
import { createOptionsOf } from '../../../src/cli/create-options.ts';
import { parseArguments } from '../../../src/cli/parse.ts';

let cwd = '';
beforeAll(() => {
  cwd = mkdtempSync(join(tmpdir(), 'tinyrun-options-'));
  writeFileSync(join(cwd, 'env'), '# note\nA=file\n\nB\n  C=with space \nFROM_HOST\n');
  writeFileSync(join(cwd, 'labels'), 'x=1\ny\n');
  writeFileSync(join(cwd, 'profile.json'), '{ "defaultAction": "SCMP_ACT_ALLOW",\n "syscalls": [] }');
  writeFileSync(join(cwd, 'bad.json'), '{');
});
afterAll(() => rmSync(cwd, { recursive: true }));

function options(...argv: string[]) {
  const parsed = parseArguments([...argv, 'busybox', 'echo', '-n'], {
    options: CREATE_FLAGS,
    interspersed: false,
  });
  return createOptionsOf(parsed, { env: { FROM_HOST: 'host', KEY: 'value' }, cwd });
}

test('createOptionsOf() leaves out what was not given', () => {
  expect(options()).toEqual({
    image: 'busybox',
    command: ['echo', '-n'],
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
      mode: { type: 'bridge', network: 'bridge' },
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
  });
});

test.each<[string[], object]>([
  [
    ['--name', 'web', '-h', 'box', '-w', '/srv', '-u', '1:2'],
    { name: 'web', hostname: 'box', workingDir: '/srv', user: '1:2' },
  ],
  [['--entrypoint', ''], { entrypoint: [] }],
  [['--entrypoint', '/bin/x y'], { entrypoint: ['/bin/x y'] }],
  [['-e', 'A=1', '-e', 'KEY', '-e', 'UNSET'], { env: ['A=1', 'KEY=value'] }],
  [['--env-file', 'env', '-e', 'A=2'], { env: ['A=file', 'C=with space ', 'FROM_HOST=host', 'A=2'] }],
  [['--label-file', 'labels', '-l', 'z=3'], { labels: { x: '1', y: '', z: '3' } }],
  [['--stop-signal', 'SIGRTMIN+3', '--stop-timeout', '-1'], { stopSignal: 'SIGRTMIN+3', stopTimeout: -1 }],
  [
    ['--shm-size', '64m', '--init', '--rm', '-it', '--read-only'],
    { shmSize: 67108864, init: true, remove: true, tty: true, openStdin: true, readonlyRootfs: true },
  ],
  [['--cap-add', 'net_admin', '--cap-drop', 'all'], { capAdd: ['CAP_NET_ADMIN'], capDrop: ['ALL'] }],
  [['-a', 'STDOUT', '-a', 'stdin'], { attach: ['stdout', 'stdin'] }],
  [
    ['--ulimit', 'nofile=1024:2048', '--ulimit', 'core=-1'],
    {
      ulimits: [
        { name: 'nofile', soft: 1024, hard: 2048 },
        { name: 'core', soft: -1, hard: -1 },
      ],
    },
  ],
  [['--sysctl', 'net.ipv4.ip_forward=1'], { sysctls: { 'net.ipv4.ip_forward': '1' } }],
  [
    ['--device', '/dev/fuse', '--device', '/dev/a:/dev/b:r', '--device', '/dev/c:rw'],
    {
      devices: [
        { source: '/dev/fuse', target: '/dev/fuse', access: 'rwm' },
        { source: '/dev/a', target: '/dev/b', access: 'r' },
        { source: '/dev/c', target: '/dev/c', access: 'rw' },
      ],
    },
  ],
  [
    ['--pid', 'host', '--ipc', 'none', '--uts', 'host', '--cgroupns', 'host'],
    { pidMode: 'host', ipcMode: 'none', utsMode: 'host', cgroupnsMode: 'host' },
  ],
  [['--ipc', 'shareable', '--userns', 'host'], { ipcMode: 'private' }],
  [['--pid', 'container:a', '--ipc', 'container:b'], { pidMode: 'container:a', ipcMode: 'container:b' }],
  [
    ['--security-opt', 'no-new-privileges', '--security-opt', 'seccomp=unconfined'],
    {
      securityOpt: [
        { type: 'no-new-privileges', on: true },
        { type: 'seccomp', profile: 'unconfined' },
      ],
    },
  ],
  [
    ['--security-opt', 'seccomp=profile.json'],
    { securityOpt: [{ type: 'seccomp', profile: '{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[]}' }] },
  ],
  [
    ['--security-opt', 'systempaths=unconfined', '--security-opt', 'label=disable'],
    {
      securityOpt: [
        { type: 'unmask', paths: 'all' },
        { type: 'ignored', text: 'label=disable' },
      ],
    },
  ],
  [['--log-driver', 'none'], { logDriver: 'none' }],
  [
    ['--log-opt', 'max-size=10m', '--log-opt', 'max-file=3'],
    { logOptions: { 'max-size': '10m', 'max-file': '3' } },
  ],
  [['--restart', 'no', '--platform', 'linux/arm64'], { platform: 'linux/arm64' }],
  [['--restart', 'always'], { restart: { policy: 'always', max: 0 } }],
  [['--restart', 'on-failure:3'], { restart: { policy: 'on-failure', max: 3 } }],
  [['--no-healthcheck', '--timeout', '5'], { healthcheck: { off: true }, lifetime: 5 }],
  [
    ['--health-cmd', 'true', '--health-interval', '1m30s', '--health-retries', '2'],
    { healthcheck: { command: 'true', interval: 90e9, retries: 2 } },
  ],
  [['--health-on-failure', 'kill'], { healthOnFailure: 'kill' }],
  [['--annotation', 'a=b'], { annotations: { a: 'b' } }],
])('createOptionsOf() reads %j', (argv, expected) => {
  expect(options(...argv)).toMatchObject(expected);
});

test.each<[string[], object]>([
  [
    ['-m', '64m', '--memory-swap', '-1', '--memory-reservation', '32m', '--memory-high', '48m'],
    { memory: 67108864, memorySwap: -1, memoryReservation: 33554432, memoryHigh: 50331648 },
  ],
  [
    ['--cpus', '0.5', '-c', '512', '--cpu-quota', '5000', '--cpu-period', '10000'],
    { cpus: 0.5, cpuShares: 512, cpuQuota: 5000, cpuPeriod: 10000 },
  ],
  [
    ['--cpuset-cpus', '0-1', '--cpuset-mems', '0', '--pids-limit', '-1'],
    { cpusetCpus: '0-1', cpusetMems: '0', pidsLimit: -1 },
  ],
  [
    ['--blkio-weight', '500', '--blkio-weight-device', '/dev/sda:100'],
    { blkioWeight: 500, blkioWeightDevice: [{ path: '/dev/sda', weight: 100 }] },
  ],
  [
    ['--device-read-bps', '/dev/sda:1mb', '--device-write-iops', '/dev/sda:100'],
    {
      deviceReadBps: [{ path: '/dev/sda', rate: 1048576 }],
      deviceWriteIops: [{ path: '/dev/sda', rate: 100 }],
    },
  ],
  [
    ['--oom-kill-disable', '--oom-score-adj', '-500', '--cgroup-parent', '/x'],
    { oomKillDisable: true, oomScoreAdj: -500, cgroupParent: '/x' },
  ],
  [['--cgroup-conf', 'memory.high=1G'], { cgroupConf: { 'memory.high': '1G' } }],
])('createOptionsOf() reads the limits %j', (argv, expected) => {
  expect(options(...argv).limits).toEqual(expected);
});

test.each<[string[], object]>([
  [['--network', 'none'], { mode: { type: 'none' } }],
  [['--net=host'], { mode: { type: 'host' } }],
  [['--network', 'container:web'], { mode: { type: 'container', container: 'web' } }],
  [['--network', 'mine'], { mode: { type: 'bridge', network: 'mine' } }],
  [['-P', '--expose', '80-81'], { publishAll: true, expose: ['80/tcp', '81/tcp'] }],
  [
    ['--dns', '8.8.8.8', '--dns-search', 'example.com', '--dns-option', 'ndots:2'],
    { dns: ['8.8.8.8'], dnsSearch: ['example.com'], dnsOptions: ['ndots:2'] },
  ],
  [
    ['--add-host', 'db:1.2.3.4', '--add-host', 'v6=[::1]', '--add-host', 'h:host-gateway'],
    { extraHosts: ['db:1.2.3.4', 'v6:::1', 'h:host-gateway'] },
  ],
  [
    ['--mac-address', '92-D0-C6-0A-29-33', '--ip', '172.17.0.9'],
    { macAddress: '92:d0:c6:0a:29:33', ip: '172.17.0.9' },
  ],
])('createOptionsOf() reads the network %j', (argv, expected) => {
  expect(options(...argv).network).toMatchObject(expected);
});

test.each<[string[], string]>([
  [['-e', '=x'], 'invalid environment variable: =x'],
  [['--env-file', 'nosuch'], 'no such file or directory'],
  [['--stop-signal', 'SIGNOPE'], 'invalid signal: SIGNOPE'],
  [['--restart', 'often'], "invalid restart policy: unknown policy 'often'"],
  [['--restart', ':3'], 'invalid restart policy format: no policy provided before colon'],
  [['--restart', 'on-failure:x'], 'maximum retry count must be an integer'],
  [['--restart', 'on-failure:-1'], 'maximum retry count cannot be negative'],
  [['--restart', 'always:3'], "maximum retry count can only be used with 'on-failure'"],
  [['--no-healthcheck', '--health-cmd', 'true'], '--no-healthcheck conflicts with --health-* options'],
  [['--health-interval=-1s'], '--health-interval cannot be negative'],
  [['--health-timeout', '10us'], '--health-timeout cannot be less than 1ms'],
  [['--health-on-failure', 'panic'], 'unknown action: expected none, kill, restart, stop'],
  [['--restart', 'always', '--rm'], 'cannot specify both --restart and --rm'],
  [['--ulimit', 'bogus=1'], 'invalid ulimit type: bogus'],
  [['--ulimit', 'nofile=5:4'], 'soft limit must be less than or equal to hard limit: 5 > 4'],
  [['--device', 'x'], 'x is not an absolute path'],
  [['--device', '/dev/a:/dev/b:q'], 'bad mode specified: q'],
  [['--security-opt', 'bogus=1'], 'invalid --security-opt: "bogus=1"'],
  [['--security-opt', 'seccomp=nosuch.json'], 'opening seccomp profile (nosuch.json) failed'],
  [['--security-opt', 'seccomp=bad.json'], 'compacting json for seccomp profile (bad.json) failed'],
  [['--dns', 'x'], 'IP address is not correctly formatted: x'],
  [['--add-host', 'x'], 'bad format for add-host: "x"'],
  [['--add-host', 'x:y'], 'invalid IP address in add-host: "y"'],
  [['--mac-address', 'x'], 'x is not a valid mac address'],
  [['--pid', 'bogus'], '--pid: expected host, private'],
  [['--log-driver', 'syslog'], 'unsupported log driver'],
  [['--log-driver', 'local', '--log-opt', 'tag=x'], "unknown log opt 'tag' for local log driver"],
  [['--log-opt', 'compress=true'], 'rotated files are not compressed, expected false'],
  [['--log-opt', 'mode=non-blocking'], 'logging mode non-blocking is not supported'],
  [['--log-opt', 'max-size=x'], 'max-size'],
  [['--log-opt', 'labels-regex=('], 'labels-regex'],
  [['--log-opt', 'x=1'], "unknown log opt 'x' for json-file log driver"],
  [['--network', 'container:web', '-p', '80'], 'port publishing and the container type network mode'],
  [['--network', 'container:web', '--hostname', 'x'], 'hostname and the network mode'],
  [['-v', '/a:/x', '--tmpfs', '/x'], 'Duplicate mount point: /x'],
  [['--blkio-weight-device', '/dev/sda:5'], 'invalid weight for device'],
  [['--device-read-bps', 'sda:5'], 'bad format for device path'],
  [['-a', 'bogus'], 'valid streams are STDIN, STDOUT and STDERR'],
])('createOptionsOf() refuses %j', (argv, message) => {
  expect(() => options(...argv)).toThrow(message);
});
