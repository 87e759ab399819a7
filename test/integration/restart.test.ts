import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect } from 'vitest';
import { needing } from '../harness/requires.ts';
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
afterAll(() => box.dispose());

const PORT = 38471;

const run = (name: string, policy: string, script: string, ...flags: string[]) =>
  box.ok(['run', '-d', '--name', name, '--restart', policy, ...flags, 'busybox', 'sh', '-c', script]);
const inspect = (format: string, name: string) => box.ok(['inspect', '--format', format, name]);
const facts = (name: string) => inspect('{{.State.Status}} {{.State.ExitCode}} {{.RestartCount}}', name);
const monitorOf = (id: string): number =>
  (JSON.parse(readFileSync(join(box.root, 'containers', id, 'state.json'), 'utf8')) as { monitorPid: number })
    .monitorPid;

async function until(what: string, condition: () => Promise<boolean>, ms = 10_000): Promise<void> {
  const deadline = Date.now() + ms;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`Not within ${ms} ms: ${what}`);
    await sleep(50);
  }
}

describe('restart policies', () => {
  it('on-failure:2 starts it twice more, with pauses, and keeps one log', async () => {
    await run('fails', 'on-failure:2', 'echo life; exit 4', '--network', 'none');
    await until('it has given up', async () => (await facts('fails')) === 'exited 4 2');
    expect(await box.ok(['logs', 'fails'])).toBe('life\nlife\nlife');
    const lines = (await box.ok(['logs', '-t', 'fails'])).split('\n');
    const times = lines.map((line) => Date.parse(line.split(' ')[0] ?? ''));
    const [first = 0, second = 0, third = 0] = times;
    expect(second - first).toBeGreaterThanOrEqual(100);
    expect(third - second).toBeGreaterThanOrEqual(200);
  });

  it('on-failure leaves a success alone', async () => {
    await run('well', 'on-failure', 'exit 0', '--network', 'none');
    await until('it has ended', async () => (await facts('well')) === 'exited 0 0');
  });

  it('keeps address, port, files and cgroup over its lives', async () => {
    const script =
      'echo x >>/lives; hostname -i; while :; do nc -l -p 80 -e cat /lives; done & sleep 0.5; kill -9 $!; exit 1';
    const id = await run('web', 'always', script, '-p', `127.0.0.1:${PORT}:80`, '-m', '32m');
    await until('it runs for the third time', async () => (await facts('web')).startsWith('running 0 2'));
    let answer = '';
    await until('it answers', async () => {
      answer = await readPort();
      return answer !== '';
    });
    expect(answer.split('\n').length).toBeGreaterThan(3);
    expect(new Set((await box.ok(['logs', 'web'])).split('\n')).size).toBe(1);
    const leases = readdirSync(join(box.runRoot, 'leases', 'bridge')).filter((name) =>
      /^[0-9.]+$/.test(name),
    );
    expect(leases.length).toBe(1);
    expect(await inspect('{{.HostConfig.RestartPolicy.Name}} {{.HostConfig.Memory}}', 'web')).toBe(
      'always 33554432',
    );
    await box.ok(['rm', '-f', 'web']);
    expect(existsSync(join(box.runRoot, 'containers', id))).toBe(false);
  });

  it('shows the pause, in which stop, exec and rm say what Docker says', async () => {
    await run('waits', 'always', 'exit 3', '--network', 'none');
    await until('it waits for long', async () => Number((await facts('waits')).split(' ')[2]) >= 4);
    await until('it waits', async () => (await facts('waits')).startsWith('restarting 3'));
    expect(await box.ok(['ps', '--format', '{{.State}} {{.Status}}'])).toMatch(
      /^restarting Restarting \(3\) .*ago$/,
    );
    expect((await box.run(['exec', 'waits', 'true'])).stderr).toContain(
      'is restarting, wait until the container is running',
    );
    expect((await box.run(['rm', 'waits'])).stderr).toContain(
      'container is restarting: stop the container before removing',
    );
    const before = Date.now();
    await box.ok(['stop', 'waits']);
    expect(Date.now() - before).toBeLessThan(1500);
    expect(await inspect('{{.State.Status}} {{.State.Restarting}}', 'waits')).toBe('exited false');
    await sleep(500);
    expect(await inspect('{{.State.Status}}', 'waits')).toBe('exited');
  });

  it.each([['stop', '-t', '0'], ['kill'], ['rm', '-f']])('a user’s %s is the end', async (...command) => {
    const id = await run('ends', 'always', 'sleep 100', '--network', 'none');
    await box.ok([...command, 'ends']);
    await until('its monitor is gone', async () => !existsSync(join(box.runRoot, 'containers', id)));
    expect(await box.ok(['ps', '-q'])).toBe('');
  });

  it('a signal that is not its stop signal is no reason to let it lie', async () => {
    await run('hup', 'always', 'sleep 100 & wait', '--network', 'none', '--init');
    await box.ok(['kill', '-s', 'HUP', 'hup']);
    await until('it is back', async () => (await facts('hup')) === 'running 0 1');
  });

  it('run in the foreground ends with the first life', async () => {
    const outcome = await box.run([
      'run',
      '--name',
      'front',
      '--network',
      'none',
      '--restart',
      'always',
      'busybox',
      'sh',
      '-c',
      'echo out; exit 5',
    ]);
    expect([outcome.code, outcome.stdout]).toEqual([5, 'out\n']);
    await until('it goes on', async () => Number((await facts('front')).split(' ')[2]) > 1);
  });

  it('update changes the policy of one that runs, and of one that waits', async () => {
    const id = await run('changes', 'no', 'sleep 0.3; exit 2', '--network', 'none');
    await box.ok(['update', '--restart', 'on-failure:5', 'changes']);
    await until('it was started again', async () => Number((await facts('changes')).split(' ')[2]) >= 3);
    await until('it waits', async () => (await facts('changes')).startsWith('restarting'));
    await box.ok(['update', '--restart', 'no', 'changes']);
    await until(
      'its monitor has given up',
      async () => !existsSync(join(box.runRoot, 'containers', id)),
      3000,
    );
    expect(await inspect('{{.State.Status}} {{.HostConfig.RestartPolicy.Name}}', 'changes')).toBe(
      'exited no',
    );
    await box.ok(['run', '-d', '--rm', '--name', 'brief', '--network', 'none', 'busybox', 'sleep', '100']);
    expect((await box.run(['update', '--restart', 'always', 'brief'])).stderr).toContain(
      'AutoRemove is enabled',
    );
  });

  it('tells the truth when its monitor is killed while it waits', async () => {
    const id = await run('orphan', 'always', 'exit 3', '--network', 'none');
    await until('it waits for long', async () => Number((await facts('orphan')).split(' ')[2]) >= 3);
    await until('it waits', async () => (await facts('orphan')).startsWith('restarting'));
    process.kill(monitorOf(id), 'SIGKILL');
    expect(await facts('orphan')).toMatch(/^exited 3 /);
    await box.ok(['start', 'orphan']);
    await until('it is restarted again', async () => /^\S+ \d+ [1-9]/.test(await facts('orphan')));
  });

  it('start --all-restartable starts what a reboot has ended', async () => {
    const ids: Record<string, string> = {};
    for (const policy of ['always', 'unless-stopped', 'on-failure', 'no']) {
      ids[policy] = await run(policy, policy, 'sleep 100', '--network', 'none');
      await run(`${policy}-stopped`, policy, 'sleep 100', '--network', 'none');
      await box.ok(['stop', '-t', '0', `${policy}-stopped`]);
    }
    await box.ok([
      'create',
      '--name',
      'never',
      '--restart',
      'always',
      '--network',
      'none',
      'busybox',
      'true',
    ]);
    for (const id of Object.values(ids)) process.kill(monitorOf(id), 'SIGKILL');
    await until('all are down', async () => (await box.ok(['ps', '-q'])) === '');
    const started = await box.ok(['start', '--all-restartable']);
    expect(started.split('\n').sort()).toEqual(['always', 'always-stopped', 'on-failure', 'unless-stopped']);
    expect((await box.ok(['ps', '--format', '{{.Names}}'])).split('\n').sort()).toEqual(
      started.split('\n').sort(),
    );
    expect(await box.ok(['start', '--all-restartable'])).toBe('');
  });

  it('ends what runs for too long, which counts as a failure', async () => {
    await run('long', 'on-failure:1', 'sleep 100', '--network', 'none', '--timeout', '1');
    await until('it was killed twice', async () => (await facts('long')) === 'exited 137 1');
  });
});

function readPort(): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    const socket = connect(PORT, '127.0.0.1');
    socket.setTimeout(1000, () => socket.destroy());
    socket.on('data', (chunk) => {
      text += chunk.toString();
    });
    socket.on('error', () => {});
    socket.on('close', () => resolve(text));
  });
}
