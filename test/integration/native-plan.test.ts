import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import type { Op } from '../../src/native/plan.ts';
import { needing } from '../harness/requires.ts';
import { ALL_CAPS, makeWorkbench, op, type Program, shell, type Workbench } from './plan-driver.ts';

const test = needing('root', 'busybox-static', 'overlay');
/** The reaper of a sanitizer build would want the sanitizer's library in the container. */
const testOfRelease = process.env.TINYRUN_NATIVE === undefined ? test : test.skip;

let bench: Workbench;
beforeAll(() => {
  bench = makeWorkbench();
});
afterAll(() => bench.dispose());

describe('a plan', () => {
  test('makes a process that inherits nothing', async () => {
    const { stdout } = await bench.run({ argv: ['cat', '/proc/self/status'] });
    for (const name of ['SigBlk', 'SigIgn', 'SigCgt', 'CapInh', 'CapAmb']) {
      expect(stdout).toContain(`${name}:\t0000000000000000\n`);
    }
    expect(stdout).toMatch(/^Groups:\t $/m);
    const said = await bench.run(shell('umask; ls /proc/$$/fd | wc -l; env; exit 7'));
    expect(said).toEqual({ code: 7, stdout: '0022\n3\nSHLVL=1\nPATH=/bin\nPWD=/\n', stderr: '' });
  });

  test('hides the host: own root, processes, network and names', async () => {
    const inside = [op({ op: 'hostname', name: 'box' }), op({ op: 'domainname', name: 'example' })];
    const script = `ls /; cat /proc/sys/kernel/hostname /proc/sys/kernel/domainname; ls /proc/sys/net/ipv4/conf; ls ${bench.directory}`;
    const { stdout, stderr } = await bench.run(shell(script, { inside }));
    expect(stdout.split('\n').filter((line) => line !== '')).toEqual(
      ['bin', 'dev', 'etc', 'proc', 'sys', 'tmp', 'box', 'example', 'all', 'default', 'lo'].slice(0),
    );
    expect(stderr).toContain('No such file or directory');
  });

  test('gives a terminal of its own devpts', async () => {
    const script =
      'tty; stty size; mount | grep /dev/console; echo to-console >/dev/console; echo to-tty >/dev/tty';
    const inside = [
      op({ op: 'mknod', path: '/dev/tty', type: 'c', mode: 0o666, major: 5, minor: 0, uid: 0, gid: 0 }),
    ];
    const { stdout } = await bench.run(shell(script, { tty: true, inside }));
    expect(stdout.split('\r\n')).toEqual([
      '/dev/pts/0',
      '24 80',
      expect.stringMatching(/^devpts on \/dev\/console type devpts/),
      'to-console',
      'to-tty',
      '',
    ]);
  });

  test('sets limits, working directory, user and groups', async () => {
    const late: Op[] = [
      op({ op: 'rlimit', resource: 'RLIMIT_NOFILE', soft: 100n, hard: 200n }),
      op({ op: 'cwd', path: '/made/for/it', create: true }),
      op({ op: 'umask', mask: 0o77 }),
      op({ op: 'user', uid: 1000, gid: 1001, groups: [7, 1001], keepCaps: false }),
      op({ op: 'noNewPrivileges' }),
    ];
    const script =
      'ulimit -n; ulimit -Hn; pwd; umask; id; grep -E "CapEff|CapPrm|NoNewPrivs" /proc/$$/status; stat -c %u /proc/$$/fd/1';
    const { stdout } = await bench.run(shell(script, { late }));
    expect(stdout.split('\n').slice(0, 8)).toEqual([
      '100',
      '200',
      '/made/for/it',
      '0077',
      'uid=1000 gid=1001 groups=7,1001',
      'CapPrm:\t0000000000000000',
      'CapEff:\t0000000000000000',
      'NoNewPrivs:\t1',
    ]);
  });

  test('keeps capabilities over the change of user where asked', async () => {
    const caps = 1n << 10n;
    const late = [
      op({ op: 'user', uid: 1000, gid: 1000, groups: [], keepCaps: true }),
      op({ op: 'caps', effective: caps, permitted: caps, inheritable: caps, ambient: caps }),
    ];
    const { stdout } = await bench.run(shell('grep Cap /proc/$$/status', { late }));
    for (const set of ['Inh', 'Prm', 'Eff', 'Amb']) expect(stdout).toContain(`Cap${set}:\t0000000000000400`);
  });

  testOfRelease('runs an init that reaps and passes the exit code on', async () => {
    const script = '(sleep 0 &); sleep 0.1; ps; readlink /proc/1/exe; echo > /proc/1/exe; kill -TERM $$';
    const { code, stdout, stderr } = await bench.run(
      shell(script, { late: [op({ op: 'init' })], caps: ALL_CAPS }),
    );
    expect(code).toBe(143);
    expect(stdout).toContain('tinyrun-init');
    expect(stdout).not.toContain('[sleep]');
    expect(stdout).toContain('/memfd:tinyrun-init (deleted)');
    expect(stderr).toMatch(/Text file busy|not permitted/);
  });

  test('mounts hundreds of layers', async () => {
    const added = Array.from({ length: 300 }, (_, index) => bench.layer(`thin${index}`));
    const last = join(added[299] ?? '', 'lowest');
    writeFileSync(last, 'here');
    bench.layers.unshift(...added);
    try {
      expect((await bench.run({ argv: ['cat', '/lowest'] })).stdout).toBe('here');
    } finally {
      bench.layers.splice(0, added.length);
    }
  });

  test('maps ids in a user namespace', async () => {
    const mapped = [
      op({ op: 'mapIds', uidMap: '0 0 1\n1 100000 65535\n', gidMap: '0 0 1\n1 100000 65535\n' }),
      op({ op: 'await', tag: 'mapped' }),
    ];
    const plan = bench.plan(shell(''));
    const program = shell('cat /proc/self/uid_map; id -u', {
      plan: {
        namespaces: [...plan.namespaces, 'user'],
        child: [
          ...mapped,
          op({ op: 'bindRoot', source: bench.layers[0] ?? '' }),
          op({ op: 'mount', fstype: 'proc', source: 'proc', target: '/proc', flags: [], data: '' }),
          op({ op: 'pivotRoot' }),
          op({
            op: 'exec',
            paths: ['/bin/sh'],
            argv: ['sh', '-c', 'cat /proc/self/uid_map; id -u'],
            env: ['PATH=/bin'],
          }),
        ],
      },
    });
    const { stdout } = await bench.run(program);
    expect(stdout.trim().split(/\s+/)).toEqual(['0', '0', '1', '1', '100000', '65535', '0']);
  });

  test('joins the namespaces of a running container', async () => {
    const session = await bench.start(
      shell('mount -t tmpfs mark /tmp; touch /tmp/mark; sleep 60', { caps: ALL_CAPS }),
    );
    const types = ['uts', 'ipc', 'network', 'pid', 'mount'] as const;
    const file = { uts: 'uts', ipc: 'ipc', network: 'net', pid: 'pid', mount: 'mnt' };
    const child = [
      ...types.map((type) =>
        op({ op: 'joinNamespace', path: `/proc/${session.pid}/ns/${file[type]}`, type }),
      ),
      op({ op: 'cwd', path: '/', create: false }),
      op({ op: 'exec', paths: ['/bin/sh'], argv: ['sh', '-c', 'ls /tmp; ps; exit 3'], env: ['PATH=/bin'] }),
    ];
    await new Promise((resolve) => setTimeout(resolve, 100));
    const { code, stdout } = await bench.run({ argv: [], plan: { namespaces: [], child } });
    expect([code, stdout.split('\n')[0]]).toEqual([3, 'mark']);
    expect(stdout).toContain('sleep 60');
    process.kill(session.pid, 'SIGKILL');
    await session.closed;
  });

  test('is born in its cgroup, where a device filter holds', async () => {
    const mounted = readFileSync('/proc/self/mountinfo', 'utf8');
    const top = /^(?:\S+ ){4}(\S+) .* - cgroup2 /m.exec(mounted)?.[1];
    if (top === undefined) return;
    const cgroup = join(top, `tinyrun-test-${process.pid}`);
    // r0 = 1:8 ? 0 : 1; the context is { access_type, major, minor }.
    const program = Buffer.from(
      '61130400000000006114080000000000b70000000100000055030200010000005504010008000000b7000000000000009500000000000000',
      'hex',
    );
    const { stdout, stderr } = await bench.run(
      shell('head -c 1 /dev/zero | wc -c; head -c 1 /random; cat /proc/self/cgroup', {
        early: [op({ op: 'bind', source: '/dev/random', target: '/random', recursive: false, flags: [] })],
        plan: {
          prepare: [
            op({ op: 'mkdir', path: cgroup, mode: 0o755 }),
            op({ op: 'deviceFilter', path: cgroup, program }),
          ],
          cgroupDirectory: cgroup,
          cleanup: [
            op({ op: 'killCgroup', path: cgroup, patienceMs: 5000 }),
            op({ op: 'rmdir', path: cgroup, patienceMs: 5000 }),
          ],
        },
      }),
    );
    // Below our own cgroup, where the suite itself runs in a container.
    expect(stdout).toMatch(new RegExp(`^0::.*/tinyrun-test-${process.pid}$`, 'm'));
    expect(stderr).toContain('/random: Operation not permitted');
    expect(existsSync(cgroup)).toBe(false);
  });

  test('empties a cgroup whose processes do not want to go', async () => {
    const cgroup = `/sys/fs/cgroup/pids/tinyrun-test-${process.pid}`;
    if (!existsSync('/sys/fs/cgroup/pids/tasks')) return;
    const session = await bench.start(
      shell('trap "" TERM; mkdir -p /tmp; while :; do sleep 0.05 & sleep 0.05; done', {
        early: [op({ op: 'writeFile', path: `${cgroup}/tasks`, text: '0' })],
        plan: {
          prepare: [
            op({ op: 'mkdir', path: cgroup, mode: 0o755 }),
            op({ op: 'mkdir', path: `${cgroup}/inner`, mode: 0o755 }),
          ],
          cleanup: [
            op({ op: 'killCgroup', path: cgroup, patienceMs: 5000 }),
            op({ op: 'rmdir', path: cgroup, patienceMs: 5000 }),
          ],
        },
      }),
    );
    expect(readFileSync(`${cgroup}/cgroup.procs`, 'utf8')).toContain(String(session.pid));
    process.kill(session.pid, 'SIGKILL');
    await session.closed;
    expect(existsSync(cgroup)).toBe(false);
  });
});

describe('a plan that fails', () => {
  test('names the phase, the op and the reason', async () => {
    const bad = op({ op: 'mkdir', path: '/nowhere/at/all', mode: 0o755 });
    const cases: [Program, string][] = [
      [{ argv: ['true'], plan: { prepare: [bad] } }, 'prepare mkdir ENOENT'],
      [{ argv: ['true'], plan: { connect: [bad] } }, 'connect mkdir ENOENT'],
      [{ argv: ['true'], inside: [bad] }, 'child mkdir ENOENT'],
      [
        { argv: ['true'], inside: [{ ...bad, optional: true }, op({ op: 'unlink', path: '/etc' })] },
        'child unlink EISDIR',
      ],
      [{ argv: ['true'], plan: { prepare: [op({ op: 'hostname', name: 'x' })] } }, 'prepare hostname EINVAL'],
      [
        {
          argv: ['true'],
          late: [op({ op: 'rlimit', resource: 'nofile', soft: 1n << 40n, hard: 1n << 40n })],
        },
        'child rlimit EPERM',
      ],
      [
        { argv: ['true'], late: [op({ op: 'seccomp', program: new Uint8Array(7), flags: 0 })] },
        'child seccomp EINVAL',
      ],
      [
        { argv: ['true'], late: [op({ op: 'joinNamespace', path: '/proc/1/ns/nope', type: 'uts' })] },
        'child joinNamespace ENOENT',
      ],
    ];
    for (const [program, expected] of cases) expect(await bench.failure(program)).toBe(expected);
  });

  test('tells why a program cannot be executed', async () => {
    const cases: [string[], string][] = [
      [['/bin/none', '/none'], 'ENOENT'],
      [['/etc/passwd'], 'EACCES'],
      [['/none', '/etc', '/bin/none'], 'EACCES'],
      [['/bin/busybox/x'], 'ENOTDIR'],
      [['/bin/busybox/x', '/none'], 'ENOENT'],
      [['/bin/loop'], 'ELOOP'],
      [['/bin/text'], 'ENOEXEC'],
      [['/bin/script'], 'ENOENT'],
    ];
    await bench.withLayer(
      (layer) => {
        mkdirSync(join(layer, 'bin'));
        symlinkSync('loop', join(layer, 'bin', 'loop'));
        writeFileSync(join(layer, 'bin', 'text'), 'no program', { mode: 0o755 });
        writeFileSync(join(layer, 'bin', 'script'), '#!/bin/missing\n', { mode: 0o755 });
      },
      async () => {
        for (const [paths, errno] of cases) {
          expect(await bench.failure({ argv: ['x'], paths }), paths.join()).toBe(`child exec ${errno}`);
        }
      },
    );
  });
});

describe('a tmpfs', () => {
  const tmpfs = (target: string, data = ''): Op =>
    op({ op: 'mount', fstype: 'tmpfs', source: 'tmpfs', target, flags: [], data });

  test('takes mode and owner of the directory it covers, unless it is told', async () => {
    await bench.withLayer(
      (layer) => {
        for (const name of ['private', 'shared', 'owned', 'told']) mkdirSync(join(layer, name));
        chmodSync(join(layer, 'private'), 0o700);
        chmodSync(join(layer, 'shared'), 0o1770);
        chownSync(join(layer, 'owned'), 70, 71);
        chownSync(join(layer, 'told'), 70, 71);
      },
      async () => {
        const early = [
          tmpfs('/private', 'size=64k'),
          tmpfs('/shared'),
          tmpfs('/owned', 'uid=5'),
          tmpfs('/told', 'mode=711'),
          tmpfs('/new'),
        ];
        const { stdout } = await bench.run(
          shell('stat -c "%n %a %u:%g" /private /shared /owned /told /new', { early }),
        );
        expect(stdout.split('\n')).toEqual([
          '/private 700 0:0',
          '/shared 1770 0:0',
          '/owned 755 5:71',
          '/told 711 0:0',
          '/new 1777 0:0',
          '',
        ]);
      },
    );
  });

  test('becomes read-only itself, and what is mounted in it does not', async () => {
    const inside = [
      tmpfs('/outer'),
      tmpfs('/outer/inner'),
      op({ op: 'readonlyPath', path: '/outer' }),
      op({ op: 'readonlyPath', path: '/etc' }),
    ];
    const script =
      'touch /outer/x; touch /outer/inner/x && echo ok; touch /etc/x; mount | grep -c " /outer "';
    const { stdout, stderr } = await bench.run(shell(script, { inside }));
    expect(stdout).toBe('ok\n1\n');
    expect(stderr.match(/Read-only file system/g)).toHaveLength(2);
  });
});

describe('a bind', () => {
  test('is read-only with all that is mounted below', async () => {
    const volume = join(bench.directory, 'volume');
    mkdirSync(join(volume, 'below'), { recursive: true });
    execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', join(volume, 'below')]);
    try {
      const bind = (recursiveFlags: boolean): Op =>
        op({
          op: 'bind',
          source: volume,
          target: '/data',
          recursive: true,
          flags: ['ro'],
          recursiveFlags,
          propagation: 'rprivate',
        });
      const script = 'touch /data/x; touch /data/below/x';
      const all = await bench.run(shell(script, { early: [bind(true)] }));
      expect(all.stderr.match(/Read-only/g)).toHaveLength(2);
      const top = await bench.run(shell(script, { early: [bind(false)] }));
      expect(top.stderr.match(/Read-only/g)).toHaveLength(1);
      expect(
        readFileSync('/proc/self/mountinfo', 'utf8').match(new RegExp(`${volume}/below rw`)),
      ).not.toBeNull();
    } finally {
      execFileSync('umount', [join(volume, 'below')]);
    }
  });

  test('keeps the image writable unless the root is read-only', async () => {
    expect((await bench.run(shell('touch /x'))).code).toBe(0);
    const { stderr } = await bench.run(shell('touch /x', { inside: [op({ op: 'readonlyRoot' })] }));
    expect(stderr).toContain('Read-only file system');
  });
});
