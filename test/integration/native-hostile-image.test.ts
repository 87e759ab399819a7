import { mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import type { Op } from '../../src/native/plan.ts';
import { needing } from '../harness/requires.ts';
import { ALL_CAPS, makeWorkbench, op, shell, type Workbench } from './plan-driver.ts';

const test = needing('root', 'busybox-static', 'overlay');

let bench: Workbench;
beforeAll(() => {
  bench = makeWorkbench();
});
afterAll(() => bench.dispose());

describe('a hostile image', () => {
  const bindHosts = (): Op =>
    op({
      op: 'bind',
      source: bench.canary,
      target: '/etc/hosts',
      recursive: false,
      flags: ['ro'],
      propagation: 'rprivate',
    });

  test('cannot lead what is made for it to the host (CVE-2026-41579, CVE-2024-45310)', async () => {
    const outside = join(bench.directory, 'outside');
    mkdirSync(outside);
    await bench.withLayer(
      (layer) => {
        rmSync(join(layer, 'etc'), { force: true });
        for (const name of ['etc', 'made', 'nodes']) symlinkSync(outside, join(layer, name));
        symlinkSync(`../../../../../../../..${outside}`, join(layer, 'upwards'));
      },
      async () => {
        const early: Op[] = [
          bindHosts(),
          op({ op: 'mkdirInRoot', path: '/made/directory', mode: 0o755, uid: 5, gid: 5 }),
          op({ op: 'symlinkInRoot', target: 'x', path: '/upwards/link' }),
          op({
            op: 'mknod',
            path: '/nodes/null',
            type: 'c',
            mode: 0o666,
            major: 1,
            minor: 3,
            uid: 0,
            gid: 0,
          }),
          op({ op: 'mount', fstype: 'tmpfs', source: 'tmpfs', target: '/made/mount', flags: [], data: '' }),
        ];
        const { code, stdout } = await bench.run(shell('cat /etc/hosts; ls /made', { early }));
        expect([code, stdout]).toEqual([0, 'untoucheddirectory\nhosts\nlink\nmount\nnull\n']);
      },
    );
    expect(readdirSync(outside)).toEqual([]);
    expect(readFileSync(bench.canary, 'utf8')).toBe('untouched');
  });

  test('has what its dangling link points to made inside', async () => {
    await bench.withLayer(
      (layer) => {
        mkdirSync(join(layer, 'etc'));
        symlinkSync('../run/systemd/hosts', join(layer, 'etc', 'hosts'));
      },
      async () => {
        const { stdout } = await bench.run(
          shell('cat /etc/hosts /run/systemd/hosts; echo x > /etc/hosts', { early: [bindHosts()] }),
        );
        expect(stdout).toBe('untoucheduntouched');
      },
    );
  });

  test('cannot have proc mounted elsewhere by a link (CVE-2019-19921)', async () => {
    const program = await bench.withLayer(
      (layer) => {
        symlinkSync('/tmp', join(layer, 'proc'));
      },
      () => bench.failure({ argv: ['true'] }),
    );
    expect(program).toBe('child mount ENOTDIR');
  });

  test('cannot lead a mount into procfs by a link (CVE-2019-19921)', async () => {
    const mountOn = (target: string): Op =>
      op({ op: 'mount', fstype: 'tmpfs', source: 'tmpfs', target, flags: [], data: '' });
    const bindOn = (target: string): Op =>
      op({ op: 'bind', source: '/etc/passwd', target, recursive: false, flags: [] });
    await bench.withLayer(
      (layer) => {
        symlinkSync('/proc/self/attr', join(layer, 'labels'));
        symlinkSync('proc/self/attr/exec', join(layer, 'label'));
        symlinkSync('proc/self', join(layer, 'self'));
      },
      async () => {
        const refused: [Op, string][] = [
          [mountOn('/labels'), 'child mount ELOOP'],
          [mountOn('/self/attr'), 'child mount ELOOP'],
          [bindOn('/label'), 'child bind ELOOP'],
          [bindOn('/self/attr/exec'), 'child bind ELOOP'],
        ];
        for (const [bad, failure] of refused) {
          expect(await bench.failure({ argv: ['true'], inside: [bad] })).toBe(failure);
        }
        // Whoever names it means it, as for the files of lxcfs.
        const { stdout } = await bench.run(shell('cat /proc/uptime', { inside: [bindOn('/proc/uptime')] }));
        expect(stdout).toBe('root:x:0:0::/:/bin/sh\n');
      },
    );
  });

  test('gets no directory of the host as its working directory (CVE-2024-21626)', async () => {
    for (let fd = 3; fd < 20; fd += 1) {
      const late = [op({ op: 'cwd', path: `/proc/self/fd/${fd}`, create: false })];
      expect(await bench.failure({ argv: ['true'], late })).toMatch(/^child cwd (EXDEV|ENOENT|ELOOP)$/);
    }
  });

  test('masks files with a null device that is none of its own (CVE-2025-31133)', async () => {
    const inside: Op[] = [
      op({ op: 'rename', from: '/dev/null', to: '/dev/moved' }),
      op({ op: 'symlinkInRoot', target: '/proc/sys/kernel/core_pattern', path: '/dev/null' }),
      op({ op: 'maskPath', path: '/proc/keys' }),
      op({ op: 'maskPath', path: '/proc/kallsyms' }),
      op({ op: 'maskPath', path: '/proc/fs' }),
      op({ op: 'maskPath', path: '/proc/tty' }),
      op({ op: 'maskPath', path: '/proc/not-there' }),
      op({ op: 'readonlyPath', path: '/proc/sys' }),
    ];
    const script =
      'for f in keys kallsyms; do stat -c "%F %t:%T" /proc/$f; done; ls /proc/fs /proc/tty; touch /proc/fs/x; echo x > /proc/sys/kernel/msgmax; exit 0';
    const { stdout, stderr } = await bench.run(shell(script, { inside, caps: ALL_CAPS }));
    expect(stdout).toBe('character special file 1:3\ncharacter special file 1:3\n/proc/fs:\n\n/proc/tty:\n');
    expect(stderr.match(/Read-only file system/g)).toHaveLength(2);
  });

  test('cannot catch a setting on its way (CVE-2025-52881)', async () => {
    const inside: Op[] = [
      op({ op: 'mount', fstype: 'tmpfs', source: 'tmpfs', target: '/proc/sys', flags: [], data: '' }),
      op({ op: 'sysctl', key: 'kernel/msgmax', value: '4321' }),
    ];
    const { stdout } = await bench.run(
      shell('ls -A /proc/sys; mount -t proc proc /tmp; cat /tmp/sys/kernel/msgmax', {
        inside,
        caps: ALL_CAPS,
      }),
    );
    expect(stdout).toBe('4321\n');
    for (const key of ['../sysrq-trigger', '/etc/passwd', 'kernel/../../sysrq-trigger']) {
      const failing = [op({ op: 'sysctl', key, value: 'h' })];
      expect(await bench.failure({ argv: ['true'], inside: failing })).toBe('child sysctl EINVAL');
    }
  });
});
