import { execFileSync, spawn } from 'node:child_process';
import { chmodSync, existsSync, openSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { needing } from '../harness/requires.ts';
import { show } from '../harness/sandbox.ts';
import { type Seeded, seededSandbox } from '../harness/seed.ts';

const it = needing('root', 'overlay', 'nft', 'docker-registry', 'busybox-static');
const onTerminal = needing('root', 'overlay', 'nft', 'docker-registry', 'busybox-static', 'script');

let box: Seeded;
beforeAll(async () => {
  box = await seededSandbox();
  await box.ok([
    ...['run', '-d', '--name', 'target', '--network', 'none', '-e', 'GREETING=hello', '-w', '/tmp'],
    ...['--hostname', 'inside', '--memory', '64m', 'busybox', 'sleep', '1000'],
  ]);
});
afterAll(async () => {
  await box.dispose();
});

const exec = (...args: string[]) => box.run(['exec', ...args]);
const sh = (script: string, ...flags: string[]) => box.ok(['exec', ...flags, 'target', 'sh', '-c', script]);
const hostPid = async (container = 'target') =>
  Number(await box.ok(['inspect', '--format', '{{.State.Pid}}', container]));

async function until(what: string, condition: () => boolean | Promise<boolean>, ms = 10_000): Promise<void> {
  const deadline = Date.now() + ms;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`Not within ${ms} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

describe('exec', () => {
  it('runs in the namespaces of the container', async () => {
    const links = (directory: string) =>
      ['mnt', 'pid', 'net', 'ipc', 'uts', 'cgroup']
        .map((name) => `readlink ${directory}/ns/${name}`)
        .join(';');
    const own = execFileSync('sh', ['-c', links(`/proc/${await hostPid()}`)], { encoding: 'utf8' });
    expect(await sh(links('/proc/self'))).toBe(own.trim());
    expect(await sh('hostname; cat /proc/1/comm')).toBe('inside\nsleep');
  });

  it('runs in the cgroups of the container', async () => {
    const read = (text: string) => text.trim().split('\n').sort();
    const script = 'sleep 30 & cat /proc/self/cgroup; kill $!';
    expect(read(await sh(script))).toEqual(read(await sh('cat /proc/1/cgroup')));
    const child = box.start(['exec', 'target', 'sh', '-c', 'echo ready; exec sleep 31']);
    await new Promise((resolve) => child.stdout.once('data', resolve));
    const { stdout } = await box.host(['pgrep', '-xf', 'sleep 31']);
    const text = (pid: number) => readFileSync(`/proc/${pid}/cgroup`, 'utf8');
    const pid = Number(stdout.trim());
    expect(text(pid)).toBe(text(await hostPid()));
    process.kill(pid, 'SIGKILL');
    await new Promise((resolve) => child.once('close', resolve));
    expect(child.exitCode).toBe(137);
  });

  it('has the environment, directory and streams that are asked for', async () => {
    expect(await sh('echo $GREETING $PWD $HOME')).toBe('hello /tmp /root');
    expect(await sh('echo $GREETING $PWD', '-e', 'GREETING=bye', '-w', '/etc')).toBe('bye /etc');
    const outcome = await exec('target', 'sh', '-c', 'echo out; echo err >&2; exit 7');
    expect(outcome).toEqual({ code: 7, stdout: 'out\n', stderr: 'err\n' });
    const input = await box.run(['exec', '-i', 'target', 'wc', '-c'], { input: 'x'.repeat(300_000) });
    expect(input.stdout.trim()).toBe('300000');
    // Without -i stdin is empty.
    expect((await box.run(['exec', 'target', 'wc', '-c'], { input: 'abc' })).stdout.trim()).toBe('0');
  });

  it('has no more rights than the container', async () => {
    const facts = 'grep -E "^(Cap|NoNewPrivs|Seccomp:|Groups)" /proc/self/status';
    const first = await sh('grep -E "^(Cap|NoNewPrivs|Seccomp:|Groups)" /proc/1/status');
    expect(await sh(facts)).toBe(first);
    expect(await sh('grep -E "^Cap(Inh|Prm|Eff|Amb)" /proc/self/status | cut -f2', '-u', '1000')).toBe(
      Array(4).fill('0'.repeat(16)).join('\n'),
    );
    const all = /CapEff:\s+([0-9a-f]+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
    expect(await sh('grep CapEff /proc/self/status | cut -f2', '--privileged')).toBe(all);
  });

  it('knows users by the container’s files as they are now', async () => {
    await sh('echo "late:x:77:78::/home/late:/bin/sh" >> /etc/passwd; echo "extra:x:99:late" >> /etc/group');
    expect(await sh('id -u; id -g; id -G; echo $HOME', '-u', 'late')).toBe('77\n78\n78 99\n/home/late');
    const missing = await exec('-u', 'nosuch', 'target', 'id');
    expect(missing.stderr).toContain('unable to find user nosuch: no matching entries in passwd file');
    expect(missing.code).not.toBe(0);
  });

  it.each([
    [['nosuch'], 127, 'executable file not found in $PATH'],
    [['/etc/passwd'], 126, 'permission denied'],
    [['/etc'], 126, 'is a directory'],
  ])('%j exits with %i', async (command, code, words) => {
    const outcome = await exec('target', ...command);
    expect(outcome.code, show(outcome)).toBe(code);
    expect(outcome.stderr).toContain(words);
  });

  it('-w of a missing directory fails and makes none', async () => {
    const outcome = await exec('-w', '/missing', 'target', 'true');
    expect(outcome.code, show(outcome)).toBe(127);
    expect((await exec('target', 'ls', '/missing')).code).toBe(1);
  });

  it('never stands in a directory of the host (CVE-2024-21626)', async () => {
    for (const fd of [3, 4, 5, 6, 7, 8, 9, 10]) {
      const outcome = await exec('-w', `/proc/self/fd/${fd}`, 'target', 'cat', 'etc/hostname');
      expect(outcome.code, show(outcome)).toBeGreaterThan(125);
    }
    expect(await sh('ls /proc/self/fd | wc -l')).toBe('4');
  });

  it('gives no way to change our program on the host (CVE-2019-5736)', async () => {
    const id = await box.ok(['inspect', '--format', '{{.Id}}', 'target']);
    const state = readFileSync(join(box.root, 'containers', id, 'state.json'), 'utf8');
    const { monitorPid } = JSON.parse(state) as { monitorPid: number };
    // Of the monitor, and so of what it forks: executed as /proc/self/exe it is the container's to open.
    const program = `/proc/${monitorPid}/exe`;
    expect(readlinkSync(program)).toMatch(/tinyrun-monitor$/);
    expect(() => chmodSync(program, 0o755)).toThrow(/EROFS/);
    expect(() => openSync(program, 'r+')).toThrow(/EROFS|ETXTBSY/);
    const script = 'printf "#!/proc/self/exe\\n" > /self; chmod +x /self';
    await sh(script);
    for (const command of ['/proc/self/exe', '/self']) {
      const outcome = await exec('target', command);
      expect(outcome).toMatchObject({ code: 2, stdout: '' });
    }
  });

  it('exits with 125 for wrong flags and 1 where nothing runs', async () => {
    expect((await exec('--nosuch', 'target', 'true')).code).toBe(125);
    expect((await exec('-d', '--with-client', 'target', 'true')).code).toBe(125);
    await box.ok(['create', '--name', 'idle', '--network', 'none', 'busybox', 'true']);
    const outcome = await exec('idle', 'true');
    expect(outcome.code).toBe(1);
    expect(outcome.stderr).toMatch(/container [0-9a-f]{64} is not running/);
    expect((await exec('nosuch', 'true')).stderr).toContain('No such container: nosuch');
  });

  it('-d returns at once and the process goes on', async () => {
    expect(await box.ok(['exec', '-d', 'target', 'sh', '-c', 'sleep 0.3; echo done > /detached'])).toBe('');
    await until(
      'the file is there',
      async () => (await exec('target', 'cat', '/detached')).stdout === 'done\n',
    );
  });

  it('goes on when its client is killed, but not --with-client', async () => {
    const started = async (seconds: number, ...flags: string[]) => {
      const script = `sleep ${seconds} & echo $$; wait`;
      const child = box.start(['exec', ...flags, 'target', 'sh', '-c', script]);
      const pid = await new Promise<string>((resolve) =>
        child.stdout.once('data', (chunk) => resolve(String(chunk))),
      );
      child.kill('SIGKILL');
      return pid.trim();
    };
    const gone = async (command: string) => !(await sh('ps')).includes(` ${command}\n`);
    const stays = await started(2001);
    const goes = await started(2002, '--with-client');
    await until('it is dead', async () => (await exec('target', 'test', '-d', `/proc/${goes}`)).code === 1);
    await until('its child is dead', () => gone('sleep 2002'));
    expect((await exec('target', 'test', '-d', `/proc/${stays}`)).code).toBe(0);
    expect(await gone('sleep 2001')).toBe(false);
    await sh(`kill -9 ${stays}; kill -9 $(ps | grep "sleep 2001$" | sed "s,^ *,,; s, .*,,")`);
  });

  it('leaves nothing in the run directory', async () => {
    await exec('target', 'true');
    const directory = join(box.runRoot, 'exec');
    await until('it is empty', async () => {
      if (!existsSync(directory)) return true;
      const alive = readdirSync(directory).length;
      return alive <= 0;
    });
  });

  it('ends with its container', async () => {
    const id = await box.ok(['run', '-d', '--rm', '--network', 'none', 'busybox', 'sleep', '1000']);
    const child = box.start(['exec', id, 'sh', '-c', 'echo ready; sleep 1000']);
    const code = new Promise<number | null>((resolve) => child.once('close', resolve));
    await new Promise((resolve) => child.stdout.once('data', resolve));
    await box.ok(['kill', id]);
    expect(await code).toBe(137);
  });

  it('joins what is shared with others, not what is the host’s', async () => {
    await box.ok([
      ...['run', '-d', '--name', 'hostly', '--network', 'container:target', '--pid', 'host'],
      ...['--cgroupns', 'host', 'busybox', 'sleep', '1000'],
    ]);
    const net = await box.ok(['exec', 'hostly', 'readlink', '/proc/self/ns/net']);
    expect(net).toBe(await sh('readlink /proc/self/ns/net'));
    const pid = await box.ok(['exec', 'hostly', 'readlink', '/proc/self/ns/pid']);
    expect(pid).toBe(execFileSync('readlink', ['/proc/self/ns/pid'], { encoding: 'utf8' }).trim());
    // The end of one process there is not the end of the others.
    expect(await box.ok(['inspect', '--format', '{{.State.Status}}', 'hostly'])).toBe('running');
    await box.ok(['rm', '-f', 'hostly']);
  });
});

describe('exec -t', () => {
  const terminal = (command: string) =>
    execFileSync('script', ['-qec', command, '/dev/null'], {
      encoding: 'utf8',
      input: '',
      env: { ...box.env },
      timeout: 30_000,
    });

  onTerminal('gives the process a terminal of the right size', () => {
    const output = terminal(
      `stty rows 31 cols 91; ${box.binary} exec -it target sh -c 'tty; stty size; echo $TERM; exit 3' || echo code $?`,
    );
    expect(output).toContain('/dev/pts/');
    expect(output).toContain('31 91');
    expect(output).toContain('xterm');
    expect(output).toContain('code 3');
  });

  onTerminal('leaves /dev/console alone', async () => {
    terminal(`${box.binary} exec -it target true`);
    expect((await exec('target', 'test', '-e', '/dev/console')).code).toBe(1);
  });

  onTerminal('detaches and the process goes on', async () => {
    const command = `${box.binary} exec -it --detach-keys a,b target sh`;
    const child = spawn('script', ['-qec', command, '/dev/null'], { env: { ...box.env } });
    const ended = new Promise<number | null>((resolve) => child.once('close', resolve));
    await new Promise<void>((resolve) =>
      child.stdout.on('data', (chunk) => String(chunk).includes('#') && resolve()),
    );
    child.stdin.write('ab');
    expect(await ended).toBe(0);
  });

  it('-it without a terminal is refused', async () => {
    const outcome = await exec('-it', 'target', 'true');
    expect(outcome.stderr).toContain('the input device is not a TTY');
    expect(outcome.code).toBe(1);
  });
});
