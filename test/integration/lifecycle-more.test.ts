import { existsSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, describe, expect } from 'vitest';
import { needing } from '../harness/requires.ts';
import { show } from '../harness/sandbox.ts';
import { type Seeded, seededSandbox } from '../harness/seed.ts';

const it = needing('root', 'overlay', 'nft', 'docker-registry', 'busybox-static');

let box: Seeded;
beforeAll(async () => {
  box = await seededSandbox();
});
afterEach(async () => {
  const ids = await box.ok(['ps', '-aq']);
  if (ids !== '') await box.ok(['rm', '-f', ...ids.split('\n')]);
});
afterAll(async () => {
  await box.dispose();
});

const detached = (...args: string[]) => box.ok(['run', '-d', '--network', 'none', ...args]);
const inspect = (format: string, container: string) => box.ok(['inspect', '--format', format, container]);
const pidOf = (container: string) => inspect('{{.State.Pid}}', container);

describe('restart', () => {
  it('starts anew what runs and what does not', async () => {
    await detached('--name', 'again', 'busybox', 'sh', '-c', 'echo x >> /count; exec sleep 100');
    const before = await pidOf('again');
    expect(await box.ok(['restart', '-t', '0', 'again'])).toBe('again');
    expect(await pidOf('again')).not.toBe(before);
    await box.ok(['stop', '-t', '0', 'again']);
    await box.ok(['restart', 'again']);
    expect(await box.ok(['exec', 'again', 'cat', '/count'])).toBe('x\nx\nx');
  });

  it('refuses what --rm would remove', async () => {
    await detached('--rm', '--name', 'fleeting', 'busybox', 'sleep', '100');
    const outcome = await box.run(['restart', 'fleeting']);
    expect(outcome.code).toBe(1);
    expect(outcome.stderr).toContain('--rm removes it when it stops');
  });
});

describe('rename', () => {
  it('gives another name, also while it runs', async () => {
    const id = await detached('--name', 'before', 'busybox', 'sleep', '100');
    await box.ok(['rename', 'before', 'after']);
    expect(await inspect('{{.Name}} {{.Id}}', 'after')).toBe(`/after ${id}`);
    expect((await box.run(['inspect', 'before'])).code).toBe(1);
    await detached('--name', 'before', 'busybox', 'sleep', '100');
    const taken = await box.run(['rename', 'after', 'before']);
    expect(taken.code).toBe(1);
    expect(taken.stderr).toContain('The container name "/before" is already in use by container');
    expect((await box.run(['rename', 'after', 'a b'])).stderr).toContain('Invalid container name (a b)');
    expect((await box.run(['rename', 'after', 'after'])).stderr).toContain('same name as its current name');
  });
});

describe('pause', () => {
  it('lets everything stand still until unpause', async () => {
    await detached('--name', 'ticker', 'busybox', 'sh', '-c', 'while :; do echo tick; sleep 0.05; done');
    expect(await box.ok(['pause', 'ticker'])).toBe('ticker');
    expect(await box.ok(['ps', '--format', '{{.Status}} {{.State}}'])).toMatch(/^Up .* \(Paused\) paused$/);
    expect(await inspect('{{.State.Status}} {{.State.Running}} {{.State.Paused}}', 'ticker')).toBe(
      'paused true true',
    );
    expect(await box.ok(['ps', '-q', '--filter', 'status=paused'])).not.toBe('');
    const lines = async () => (await box.ok(['logs', 'ticker'])).length;
    const before = await lines();
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(await lines()).toBe(before);
    await box.ok(['unpause', 'ticker']);
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(await lines()).toBeGreaterThan(before);
    expect(await inspect('{{.State.Status}}', 'ticker')).toBe('running');
  });

  it('says what does not fit', async () => {
    await detached('--name', 'still', 'busybox', 'sleep', '100');
    expect((await box.run(['unpause', 'still'])).stderr).toMatch(/Container [0-9a-f]{64} is not paused/);
    await box.ok(['pause', 'still']);
    expect((await box.run(['pause', 'still'])).stderr).toContain('is already paused');
    const exec = await box.run(['exec', 'still', 'true']);
    expect(exec.code, show(exec)).toBe(1);
    expect(exec.stderr).toContain('Container still is paused, unpause the container before exec');
    expect((await box.run(['start', 'still'])).stderr).toContain('cannot start a paused container');
    expect((await box.run(['attach', 'still'])).stderr).toContain('You cannot attach to a paused container');
    await box.ok(['stop', '-t', '0', 'still']);
    expect((await box.run(['pause', 'still'])).stderr).toContain('is not running');
  });

  it.each([
    ['stop', ['stop', '-t', '5'], 'exited 7'],
    ['kill', ['kill'], 'exited 137'],
  ])('%s of a paused container lets it take the signal', async (_, command, expected) => {
    const script = 'trap "exit 7" TERM; echo ready; while :; do sleep 0.1; done';
    await detached('--name', 'frozen', 'busybox', 'sh', '-c', script);
    while ((await box.ok(['logs', 'frozen'])) !== 'ready') await new Promise((next) => setTimeout(next, 50));
    await box.ok(['pause', 'frozen']);
    await box.ok([...command, 'frozen']);
    expect(await inspect('{{.State.Status}} {{.State.ExitCode}}', 'frozen')).toBe(expected);
  });

  it('rm -f takes a paused container', async () => {
    await detached('--name', 'gone', 'busybox', 'sleep', '100');
    await box.ok(['pause', 'gone']);
    await box.ok(['rm', '-f', 'gone']);
    expect(await box.ok(['ps', '-aq'])).toBe('');
  });
});

describe('top', () => {
  it('shows the processes of the container only, with the host’s pids', async () => {
    await detached('--name', 'busy', 'busybox', 'sh', '-c', 'sleep 4321 & wait');
    const lines = (await box.ok(['top', 'busy'])).split('\n');
    expect(lines[0]).toMatch(/^UID\s+PID\s+PPID\s+C\s+STIME\s+TTY\s+TIME\s+CMD$/);
    expect(lines).toHaveLength(3);
    expect(lines[1]).toContain(await pidOf('busy'));
    expect(lines[2]).toMatch(/sleep 4321$/);
    expect(await box.ok(['top', 'busy', '-o', 'pid,comm'])).toMatch(/^PID\s+COMMAND\n\d+\s+sh\n\d+\s+sleep$/);
    expect((await box.run(['top', 'busy', '-o', 'comm'])).stderr).toContain("Couldn't find PID field");
    await box.ok(['kill', 'busy']);
    expect((await box.run(['top', 'busy'])).stderr).toMatch(/container [0-9a-f]{64} is not running/);
  });
});

describe('port', () => {
  it('lists what is published', async () => {
    await box.ok([
      ...['run', '-d', '--name', 'server', '-p', '127.0.0.1:38521:80', '-p', '127.0.0.1:38522:53/udp'],
      ...['busybox', 'sleep', '100'],
    ]);
    expect(await box.ok(['port', 'server'])).toBe('53/udp -> 127.0.0.1:38522\n80/tcp -> 127.0.0.1:38521');
    expect(await box.ok(['port', 'server', '80'])).toBe('127.0.0.1:38521');
    const missing = await box.run(['port', 'server', '81']);
    expect(missing).toMatchObject({ code: 1, stdout: '' });
    expect(missing.stderr).toContain("no public port '81' published for server");
  });
});

describe('container prune', () => {
  it('removes what does not run and what the filter says', async () => {
    const running = await detached('--name', 'runs', 'busybox', 'sleep', '100');
    const kept = await box.ok(['create', '--network', 'none', '--label', 'keep=1', 'busybox', 'true']);
    const done = await box.ok(['create', '--network', 'none', 'busybox', 'true']);
    expect((await box.run(['container', 'prune', '--filter', 'nosuch=1', '-f'])).code).toBe(125);
    const output = await box.ok(['container', 'prune', '-f', '--filter', 'label!=keep']);
    expect(output).toMatch(new RegExp(`^Deleted Containers:\n${done}\n\nTotal reclaimed space: [\\d.]+k?B$`));
    const left = (await box.ok(['ps', '-aq', '--no-trunc'])).split('\n').sort();
    expect(left).toEqual([running, kept].sort());
  });
});

describe('update', () => {
  const limits = 'cat /sys/fs/cgroup/pids.max /sys/fs/cgroup/pids/pids.max 2>/dev/null; true';

  it('changes limits of what runs, and of its next start', async () => {
    await detached('--name', 'grows', '--memory', '32m', '--pids-limit', '50', 'busybox', 'sleep', '100');
    const memory = async () =>
      Number(
        await box.ok([
          ...['exec', 'grows', 'sh', '-c'],
          'cd /sys/fs/cgroup; cat memory.max memory/memory.limit_in_bytes 2>/dev/null; true',
        ]),
      );
    for (const size of [64, 24]) {
      expect(await box.ok(['update', '-m', `${size}m`, '--pids-limit', String(size), 'grows'])).toBe('grows');
      expect(await memory()).toBe(size * 1024 * 1024);
      expect(await box.ok(['exec', 'grows', 'sh', '-c', limits])).toBe(String(size));
    }
    await box.ok(['restart', '-t', '0', 'grows']);
    expect(await memory()).toBe(24 * 1024 * 1024);
    expect(await inspect('{{.HostConfig.Memory}} {{.HostConfig.PidsLimit}}', 'grows')).toBe('25165824 24');
  });

  it('refuses what makes no sense', async () => {
    await box.ok(['create', '--name', 'idle', '--network', 'none', 'busybox', 'true']);
    expect((await box.run(['update', 'idle'])).code).toBe(125);
    expect((await box.run(['update', '--restart', 'often', 'idle'])).code).toBe(125);
    const small = await box.run(['update', '-m', '1m', 'idle']);
    expect(small.code).toBe(1);
    expect(small.stderr).toContain('Minimum memory limit allowed is 6MB');
    await box.ok(['update', '--cpus', '0.5', 'idle']);
    expect(await inspect('{{.HostConfig.NanoCpus}}', 'idle')).toBe('500000000');
  });
});

describe('stats', () => {
  it('--no-stream shows Docker’s columns', async () => {
    await detached('--name', 'idle', '-m', '32m', 'busybox', 'sleep', '100');
    await detached('--name', 'busy', 'busybox', 'sh', '-c', 'while :; do :; done');
    const lines = (await box.ok(['stats', '--no-stream'])).split('\n');
    expect(lines[0]).toMatch(
      /^CONTAINER ID\s+NAME\s+CPU %\s+MEM USAGE \/ LIMIT\s+MEM %\s+NET I\/O\s+BLOCK I\/O\s+PIDS$/,
    );
    expect(lines).toHaveLength(3);
    const json = JSON.parse(await box.ok(['stats', '--no-stream', '--format', 'json', 'idle'])) as Record<
      string,
      string
    >;
    expect(json).toMatchObject({ Name: 'idle', PIDs: '1' });
    expect(json.MemUsage).toMatch(/^[\d.]+(B|KiB|MiB) \/ 32MiB$/);
    const [cpu = '', peak, psi] = (
      await box.ok(['stats', '--no-stream', '--format', '{{.CPUPerc}}|{{.MemPeak}}|{{.PSI}}', 'busy'])
    ).split('|');
    expect(Number.parseFloat(cpu)).toBeGreaterThan(5);
    expect(peak).toMatch(/^[\d.]+[KM]iB$/);
    const some = existsSync('/proc/pressure/cpu') ? '\\d+\\.\\d\\d%' : '--';
    expect(psi).toMatch(new RegExp(`^${some} / ${some} / ${some}$`));
    const strain = await box.ok(['inspect', '--format', '{{json .State}}', 'busy']);
    expect(JSON.parse(strain).MemoryPeak).toBeGreaterThan(0);
    expect('Pressure' in JSON.parse(strain)).toBe(existsSync('/proc/pressure/cpu'));
    expect((await box.run(['stats', '--no-stream', 'nosuch'])).stderr).toContain('No such container: nosuch');
  });

  it('streams until it is interrupted', async () => {
    await detached('--name', 'idle', 'busybox', 'sleep', '100');
    const child = box.start(['stats', '--format', '{{.Name}}']);
    let text = '';
    child.stdout.on('data', (chunk) => {
      text += String(chunk);
    });
    while (text.split('\n').length < 3) await new Promise((next) => setTimeout(next, 50));
    const code = new Promise<number | null>((resolve) => child.once('close', resolve));
    child.kill('SIGINT');
    expect(await code).toBe(130);
    expect(text).toMatch(/^(idle\n)+$/);
  });
});

describe('diff', () => {
  it('lists what was added, changed and deleted, and nothing where nothing was', async () => {
    await detached('--name', 'clean', 'busybox', 'sleep', '100');
    expect(await box.ok(['diff', 'clean'])).toBe('');
    const script =
      'echo x > /new; echo y >> /etc/passwd; rm /etc/group; mkdir -p /a/b; rm -r /home; mkdir /home; rm /bin/vi';
    await box.run(['run', '--name', 'dirty', '--network', 'none', 'busybox', 'sh', '-c', script]);
    const text = await box.ok(['diff', 'dirty']);
    const changed = text.split('\n');
    for (const line of ['A /new', 'C /etc', 'C /etc/passwd', 'D /etc/group', 'A /a', 'A /a/b']) {
      expect(changed, text).toContain(line);
    }
    expect(text).not.toMatch(/hosts|resolv|\/proc|\/dev/);
    const live = await detached('busybox', 'sh', '-c', 'echo x > /tmp/live; sleep 100');
    await new Promise((next) => setTimeout(next, 300));
    expect(await box.ok(['diff', live])).toContain('A /tmp/live');
  });
});

describe('flags of run that are Podman’s', () => {
  it('--replace removes who has the name', async () => {
    const first = await detached('--name', 'only', 'busybox', 'sleep', '100');
    const second = await detached('--replace', '--name', 'only', 'busybox', 'sleep', '100');
    expect(await box.ok(['ps', '-aq', '--no-trunc'])).toBe(second);
    expect(second).not.toBe(first);
    const nameless = await box.run(['run', '--replace', 'busybox', 'true']);
    expect(nameless.code).toBe(125);
    expect(nameless.stderr).toContain('--replace needs --name');
  });

  it('--env-host hands on the environment, and -e overrides it', async () => {
    const env = { ONE: 'host', TWO: 'host' };
    const args = ['run', '--rm', '--network', 'none', '--env-host', '-e', 'TWO=given', 'busybox', 'env'];
    const text = await box.ok(args, { env });
    expect(text.split('\n')).toEqual(expect.arrayContaining(['ONE=host', 'TWO=given']));
  });
});

describe('update --env', () => {
  it('holds from the next start, and says why it cannot hold before', async () => {
    const script = 'echo "got $X"; sleep 100';
    await detached('--name', 'vars', '-e', 'X=1', 'busybox', 'sh', '-c', script);
    const refused = await box.run(['update', '--env', 'X=2', 'vars']);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(/no kernel call reaches the environment.*\n.*exec -e KEY=value vars/);
    await box.ok(['stop', '-t', '0', 'vars']);
    await box.ok(['update', '--env', 'X=2', 'vars']);
    await box.ok(['start', 'vars']);
    await box.ok(['stop', '-t', '0', 'vars']);
    expect(await box.ok(['logs', 'vars'])).toBe('got 1\ngot 2');
  });
});
