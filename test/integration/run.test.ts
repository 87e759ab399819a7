import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { needing } from '../harness/requires.ts';
import { show } from '../harness/sandbox.ts';
import { type Seeded, seededSandbox } from '../harness/seed.ts';

const it = needing('root', 'overlay', 'nft', 'docker-registry', 'busybox-static');

let box: Seeded;
beforeAll(async () => {
  box = await seededSandbox();
});
afterAll(async () => {
  await box.dispose();
});

/** `run --rm --network none FLAGS busybox COMMAND` as words. */
const sh = (flags: readonly string[], script: string) =>
  box.run(['run', '--rm', '--network', 'none', ...flags, 'busybox', 'sh', '-c', script]);

describe('run: output and exit codes', () => {
  it('echoes hello', async () => {
    const outcome = await box.run(['run', '--rm', 'busybox', 'echo', 'hello']);
    expect(show(outcome)).toBe(show({ code: 0, stdout: 'hello\n', stderr: '' }));
  });

  it('keeps stdout and stderr apart', async () => {
    const outcome = await sh([], 'echo out; echo err >&2');
    expect(outcome).toEqual({ code: 0, stdout: 'out\n', stderr: 'err\n' });
  });

  it.each([
    ['exit 0', 0],
    ['exit 42', 42],
    ['exit 255', 255],
    ['kill -9 $$', 137],
    ['kill -TERM $$; sleep 5', 143],
  ])('%s gives %d', async (script, code) => {
    // A shell in the middle, because pid 1 of a namespace ignores signals that it does not handle.
    const outcome = await sh([], code > 128 ? `sh -c '${script}'; exit $?` : script);
    expect(outcome.code, show(outcome)).toBe(code);
  });

  it('gives 127 and Docker’s words for a command that is not there', async () => {
    const outcome = await box.run(['run', '--rm', '--network', 'none', 'busybox', 'nosuch']);
    expect(outcome.code, show(outcome)).toBe(127);
    expect(outcome.stderr).toContain('exec: "nosuch": executable file not found in $PATH');
  });

  it('gives 127 for a path that is not there', async () => {
    const outcome = await box.run(['run', '--rm', '--network', 'none', 'busybox', '/no/such']);
    expect(outcome.code, show(outcome)).toBe(127);
    expect(outcome.stderr).toContain('/no/such');
  });

  it('gives 126 for a file that may not be executed, and for a directory', async () => {
    const file = await box.run(['run', '--rm', '--network', 'none', 'busybox', '/etc/passwd']);
    expect(file.code, show(file)).toBe(126);
    expect(file.stderr).toContain('permission denied');
    const directory = await box.run(['run', '--rm', '--network', 'none', 'busybox', '/etc']);
    expect(directory.code, show(directory)).toBe(126);
  });

  it('gives 125 for an unknown flag and for a bad value', async () => {
    expect((await box.run(['run', '--nosuch', 'busybox'])).code).toBe(125);
    expect((await box.run(['run', '-m', 'lots', 'busybox', 'true'])).code).toBe(125);
    expect((await box.run(['run', '-p', 'x:y', 'busybox', 'true'])).code).toBe(125);
  });

  it('passes stdin with -i, and gives an empty one without', async () => {
    const open = await box.run(['run', '--rm', '-i', '--network', 'none', 'busybox', 'cat'], {
      input: 'through\n',
    });
    expect(open.stdout).toBe('through\n');
    const closed = await box.run(['run', '--rm', '--network', 'none', 'busybox', 'wc', '-c'], {
      input: 'ignored',
    });
    expect(closed.stdout.trim()).toBe('0');
  });

  it('carries a megabyte each way without loss', async () => {
    const input = 'x'.repeat(1 << 20);
    const outcome = await box.run(['run', '--rm', '-i', '--network', 'none', 'busybox', 'cat'], { input });
    expect(outcome.stdout.length).toBe(input.length);
  });
});

describe('run: why it cannot start', () => {
  const script = async (name: string, content: string | Uint8Array, mode = 0o755) => {
    const path = join(box.directory, name);
    writeFileSync(path, content, { mode });
    return box.run(['run', '--rm', '--network', 'none', '-v', `${path}:/x`, 'busybox', '/x']);
  };

  it('names the missing interpreter of a script', async () => {
    const outcome = await script('bash.sh', '#!/bin/bash\necho hi\n');
    expect(outcome.code, show(outcome)).toBe(127);
    expect(outcome.stderr).toContain('/bin/bash');
  });

  it('sees Windows line ends in the first line', async () => {
    const outcome = await script('crlf.sh', '#!/bin/sh\r\necho hi\r\n');
    expect(outcome.code, show(outcome)).toBe(127);
    expect(outcome.stderr).toMatch(/CRLF|carriage return|Windows/i);
  });

  it('names the wrong architecture', async () => {
    const elf = new Uint8Array(readFileSync('/bin/busybox').subarray(0, 4096));
    elf[18] = 0xf3; // e_machine: RISC-V
    elf[19] = 0;
    const outcome = await script('riscv', elf);
    expect(outcome.code, show(outcome)).toBe(126);
    expect(outcome.stderr).toMatch(/riscv|RISC-V/i);
  });

  it('says that a file is neither a program nor a script', async () => {
    const outcome = await script('text', 'just text\n');
    expect(outcome.code, show(outcome)).toBe(126);
    expect(outcome.stderr).toMatch(/exec format error/i);
  });
});

describe('run: the process', () => {
  it('is pid 1 in namespaces of its own', async () => {
    const own = (
      await sh([], 'echo $$; for n in pid mnt uts ipc net cgroup; do readlink /proc/self/ns/$n; done')
    ).stdout;
    const lines = own.trim().split('\n');
    expect(lines[0]).toBe('1');
    for (const line of lines.slice(1)) {
      const name = /^(\w+):/.exec(line)?.[1];
      const { stdout } = await box.host(['readlink', `/proc/self/ns/${name}`]);
      expect(line).not.toBe(stdout.trim());
    }
  });

  it('shares what it is told to share', async () => {
    const flags = ['--pid', 'host', '--ipc', 'host', '--uts', 'host'];
    const { stdout } = await sh(flags, 'for n in pid ipc uts; do readlink /proc/self/ns/$n; done');
    const expected = await Promise.all(
      ['pid', 'ipc', 'uts'].map(
        async (name) => (await box.host(['readlink', `/proc/self/ns/${name}`])).stdout,
      ),
    );
    expect(stdout).toBe(expected.join(''));
  });

  it('gets Docker’s environment', async () => {
    const outcome = await box.run(
      ['run', '--rm', '--network', 'none', '-h', 'box', '-e', 'A=1', '-e', 'FROM_HERE', 'busybox', 'env'],
      {
        env: { FROM_HERE: 'yes' },
      },
    );
    expect(outcome.stdout.trim().split('\n').sort()).toEqual([
      'A=1',
      'FROM_HERE=yes',
      'HOME=/root',
      'HOSTNAME=box',
      'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
    ]);
  });

  it('reads --env-file', async () => {
    const file = join(box.directory, 'env');
    writeFileSync(file, '# comment\nB=2 with blanks\n\nC=\n');
    const { stdout } = await sh(['--env-file', file], 'echo "[$B][$C]"');
    expect(stdout).toBe('[2 with blanks][]\n');
    const missing = await sh(['--env-file', '/no/such/file'], 'true');
    expect(missing.code, show(missing)).toBe(125);
    expect(missing.stderr).toContain('open /no/such/file: no such file or directory');
  });

  it('has the short id as its hostname, 12 hex digits', async () => {
    expect((await sh([], 'hostname')).stdout).toMatch(/^[0-9a-f]{12}\n$/);
  });

  it.each([
    ['1000', 'uid=1000 gid=0(root) groups=0(root)'],
    ['1000:1001', 'uid=1000 gid=1001'],
    ['nobody', 'uid=65534(nobody)'],
    ['daemon:root', 'uid=1(daemon) gid=0(root)'],
  ])('runs as --user %s', async (user, expected) => {
    const { stdout, stderr } = await sh(['--user', user], 'id');
    expect(stdout + stderr).toContain(expected);
  });

  it('refuses a user that is not there', async () => {
    const outcome = await sh(['--user', 'ghost'], 'id');
    expect(outcome.code).toBe(125);
    expect(outcome.stderr).toContain('unable to find user ghost: no matching entries in passwd file');
  });

  it('has the 14 default capabilities and none to inherit', async () => {
    const { stdout } = await sh([], 'grep Cap /proc/self/status');
    expect(stdout.replace(/\t/g, ' ')).toBe(
      'CapInh: 0000000000000000\nCapPrm: 00000000a80425fb\nCapEff: 00000000a80425fb\nCapBnd: 00000000a80425fb\nCapAmb: 0000000000000000\n',
    );
  });

  it('has no capabilities as another user, with --cap-drop ALL, and one with --cap-add', async () => {
    expect((await sh(['-u', '1000'], 'grep CapEff /proc/self/status')).stdout).toContain('0000000000000000');
    expect((await sh(['--cap-drop', 'ALL'], 'grep CapBnd /proc/self/status')).stdout).toContain(
      '0000000000000000',
    );
    const added = await sh(['--cap-drop', 'ALL', '--cap-add', 'net_admin'], 'grep CapEff /proc/self/status');
    expect(added.stdout).toContain('0000000000001000');
  });

  it('is filtered by seccomp unless told otherwise', async () => {
    expect((await sh([], 'grep Seccomp: /proc/self/status')).stdout).toContain('2');
    const off = await sh(['--security-opt', 'seccomp=unconfined'], 'grep Seccomp: /proc/self/status');
    expect(off.stdout).toContain('0');
    expect((await sh([], 'unshare -U true; echo $?')).stdout).not.toBe('0\n');
  });

  it('sets no_new_privs when asked', async () => {
    expect((await sh([], 'grep NoNewPrivs /proc/self/status')).stdout).toContain('0');
    const on = await sh(['--security-opt', 'no-new-privileges'], 'grep NoNewPrivs /proc/self/status');
    expect(on.stdout).toContain('1');
  });

  it('has default signal dispositions, no inherited descriptors, and its own limits', async () => {
    const { stdout } = await sh(
      [],
      'grep -E "Sig(Ign|Blk)" /proc/self/status; ls /proc/self/fd | wc -l; ulimit -n',
    );
    const lines = stdout.trim().split('\n');
    expect(lines[0]).toMatch(/0000000000000000$/);
    expect(lines[1]).toMatch(/0000000000000000$/);
    // 0, 1, 2 and the directory that ls itself has open.
    expect(lines[2]).toBe('4');
    // Not the hard limit, to which Node has raised its own.
    expect(lines[3]).toBe('1024');
  });

  it('sets --ulimit, --sysctl, --shm-size, --workdir and --entrypoint', async () => {
    expect((await sh(['--ulimit', 'nofile=123:456'], 'ulimit -Sn; ulimit -Hn')).stdout).toBe('123\n456\n');
    expect((await sh(['--sysctl', 'kernel.msgmax=9000'], 'cat /proc/sys/kernel/msgmax')).stdout).toBe(
      '9000\n',
    );
    expect((await sh(['--shm-size', '8m'], 'df -m /dev/shm | tail -1')).stdout).toMatch(/\s8\s/);
    expect((await sh(['-w', '/made/for/this'], 'pwd')).stdout).toBe('/made/for/this\n');
    const entry = await box.run([
      'run',
      '--rm',
      '--network',
      'none',
      '--entrypoint',
      'echo',
      'busybox',
      'a',
      'b',
    ]);
    expect(entry.stdout).toBe('a b\n');
  });

  it('refuses a sysctl that is the host’s', async () => {
    const outcome = await sh(['--sysctl', 'kernel.core_pattern=/x'], 'true');
    expect(outcome.code).toBe(125);
    expect(outcome.stderr).toContain('kernel.core_pattern');
  });

  it('runs under --init as a child of a reaper', async () => {
    const { stdout } = await sh(
      ['--init'],
      'echo $$; (sleep 0.2 &) ; sleep 0.5; ps -o stat,comm | grep -c Z; true',
    );
    const [pid, zombies] = stdout.trim().split('\n');
    expect(Number(pid)).toBeGreaterThan(1);
    expect(zombies).toBe('0');
  });
});

describe('run: files', () => {
  it('has the standard devices, and they work', async () => {
    const { stdout } = await sh(
      [],
      'cd /dev; ls -1; head -c2 zero | wc -c; echo x > null; readlink ptmx; readlink fd',
    );
    for (const name of [
      'console',
      'core',
      'fd',
      'full',
      'mqueue',
      'null',
      'ptmx',
      'pts',
      'random',
      'shm',
      'stderr',
      'stdin',
      'stdout',
      'tty',
      'urandom',
      'zero',
    ]) {
      if (name !== 'console') expect(stdout.split('\n')).toContain(name);
    }
    expect(stdout).toContain('\n2\npts/ptmx\n/proc/self/fd\n');
  });

  it('masks what Docker masks', async () => {
    const { stdout } = await sh(
      [],
      'for f in acpi kcore keys timer_list; do [ -e /proc/$f ] && head -c1 /proc/$f 2>/dev/null; done; ls /sys/firmware | wc -l; (echo 1 > /proc/sys/kernel/printk) 2>/dev/null || echo ro',
    );
    // What the kernel does not have is skipped; what it has reads empty.
    expect(stdout).toBe('0\nro\n');
  });

  it('mounts sysfs and the cgroups read-only', async () => {
    const { stdout } = await sh([], 'touch /sys/x 2>&1; mkdir /sys/fs/cgroup/made-up 2>&1');
    expect(stdout).toMatch(/x: Read-only file system[\s\S]*made-up\W+: Read-only file system/);
  });

  it('keeps what is written in the container, not in the image', async () => {
    expect((await sh([], 'echo mine > /etc/motd; cat /etc/motd')).stdout).toBe('mine\n');
    expect((await sh([], 'cat /etc/motd 2>/dev/null; echo done')).stdout).toBe('done\n');
  });

  it('has a read-only root with --read-only, and --tmpfs in it', async () => {
    const { stdout } = await sh(
      ['--read-only', '--tmpfs', '/scratch:size=1m'],
      'touch /x 2>&1; touch /scratch/y && echo ok; df -m /scratch | tail -1',
    );
    expect(stdout).toMatch(/Read-only file system\nok\n.*\s1\s/);
  });

  it('binds -v read-write, :ro also below, and makes a missing source', async () => {
    const host = join(box.directory, 'bound');
    mkdirSync(host, { recursive: true });
    writeFileSync(join(host, 'in'), 'from the host\n');
    expect((await sh(['-v', `${host}:/data`], 'cat /data/in; echo back > /data/out')).stdout).toBe(
      'from the host\n',
    );
    expect(readFileSync(join(host, 'out'), 'utf8')).toBe('back\n');
    expect((await sh(['-v', `${host}:/data:ro`], 'touch /data/x 2>&1; true')).stdout).toContain('Read-only');
    const missing = join(box.directory, 'made', 'by', 'run');
    await sh(['-v', `${missing}:/data`], 'true');
    expect(statSync(missing).isDirectory()).toBe(true);
  });

  it('refuses --mount type=bind whose source is missing', async () => {
    const outcome = await sh(['--mount', 'type=bind,source=/no/such/dir,target=/data'], 'true');
    expect(outcome.code, show(outcome)).toBe(125);
    expect(outcome.stderr).toContain('/no/such/dir');
  });

  it('gives a device with --device and no other', async () => {
    expect((await sh(['--device', '/dev/fuse'], 'ls /dev/fuse')).stdout).toBe('/dev/fuse\n');
    const forbidden = await sh([], 'mknod /m c 1 1 && head -c1 /m');
    expect(forbidden.stderr).toContain('Operation not permitted');
  });

  it('writes --cidfile and refuses one that is there', async () => {
    const file = join(box.directory, 'cid');
    await box.ok(['run', '--rm', '--network', 'none', '--cidfile', file, 'busybox', 'true']);
    expect(readFileSync(file, 'utf8')).toMatch(/^[0-9a-f]{64}$/);
    const again = await box.run(['run', '--rm', '--network', 'none', '--cidfile', file, 'busybox', 'true']);
    expect(again.code).toBe(125);
  });

  it('gives --privileged the host’s devices and all capabilities', async () => {
    const { stdout } = await sh(
      ['--privileged'],
      'ls /dev | wc -l; grep Seccomp: /proc/self/status; mkdir /m && mount -t tmpfs x /m && echo mounted',
    );
    expect(Number(stdout.split('\n')[0])).toBeGreaterThan(20);
    expect(stdout).toMatch(/Seccomp:\s+0\nmounted/);
  });
});

describe('run: --rm, names and images', () => {
  it('leaves nothing with --rm', async () => {
    await box.ok(['run', '--rm', '--name', 'gone', '--network', 'none', 'busybox', 'true']);
    await box.ok(['run', '--rm', '--name', 'gone', '--network', 'none', 'busybox', 'true']);
    expect(await box.ok(['ps', '-aq'])).toBe('');
    expect(existsSync(join(box.root, 'names', 'gone'))).toBe(false);
  });

  it('refuses a name that is taken, in Docker’s words', async () => {
    await box.ok(['run', '--name', 'taken', '--network', 'none', 'busybox', 'true']);
    const outcome = await box.run(['run', '--name', 'taken', '--network', 'none', 'busybox', 'true']);
    expect(outcome.code).toBe(125);
    expect(outcome.stderr).toMatch(
      /Conflict\. The container name "\/taken" is already in use by container "[0-9a-f]{64}"\. You have to remove \(or rename\) that container to be able to reuse that name\./,
    );
    await box.ok(['rm', 'taken']);
  });

  it('pulls an image that is missing, and not with --pull never', async () => {
    const never = await box.run(['run', '--rm', '--pull', 'never', '--network', 'none', 'other', 'true']);
    expect(never.code, show(never)).toBe(125);
    const missing = await box.run(['run', '--rm', '--network', 'none', 'other', 'true']);
    expect(missing.stderr).toContain("Unable to find image 'other:latest' locally");
    expect(missing.code).toBe(125);
  });
});
