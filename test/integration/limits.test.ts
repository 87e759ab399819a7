import { existsSync, readdirSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { hostCgroups } from '../../src/cgroups/host.ts';
import { needing } from '../harness/requires.ts';
import { show } from '../harness/sandbox.ts';
import { type Seeded, seededSandbox } from '../harness/seed.ts';

const it = needing('root', 'overlay', 'nft', 'docker-registry', 'busybox-static');
const host = hostCgroups();
const v1 = host.version === 'v1';

let box: Seeded;
beforeAll(async () => {
  box = await seededSandbox();
});
afterAll(async () => {
  await box.dispose();
});

const run = (...args: string[]) => box.run(['run', '--rm', '--network', 'none', ...args]);

describe('limits', () => {
  /** flags, the file on v1, the file on v2, the value on each. */
  const FILES: readonly (readonly [string[], string, string, string, string])[] = [
    [['-m', '64m'], 'memory/memory.limit_in_bytes', '67108864', 'memory.max', '67108864'],
    [
      ['-m', '64m', '--memory-reservation', '32m'],
      'memory/memory.soft_limit_in_bytes',
      '33554432',
      'memory.low',
      '33554432',
    ],
    [['--cpus', '0.5'], 'cpu/cpu.cfs_quota_us', '50000', 'cpu.max', '50000 100000'],
    [['--cpu-shares', '512'], 'cpu/cpu.shares', '512', 'cpu.weight', '59'],
    [['--cpuset-cpus', '0'], 'cpuset/cpuset.cpus', '0', 'cpuset.cpus', '0'],
    [['--pids-limit', '100'], 'pids/pids.max', '100', 'pids.max', '100'],
  ];
  for (const [flags, file1, value1, file2, value2] of FILES) {
    it(`${flags.join(' ')} reaches the kernel`, async () => {
      const outcome = await run(...flags, 'busybox', 'cat', `/sys/fs/cgroup/${v1 ? file1 : file2}`);
      expect(outcome.stdout.trim(), show(outcome)).toBe(v1 ? value1 : value2);
    });
  }

  it('reports an OOM kill', async () => {
    const outcome = await box.run([
      'run',
      '--name',
      'greedy',
      '--network',
      'none',
      '-m',
      '16m',
      'busybox',
      'sh',
      '-c',
      'tail /dev/zero',
    ]);
    expect(outcome.code, show(outcome)).toBe(137);
    expect(await box.ok(['inspect', '--format', '{{.State.OOMKilled}} {{.State.ExitCode}}', 'greedy'])).toBe(
      'true 137',
    );
    await box.ok(['rm', 'greedy']);
  });

  it('stops a fork bomb at --pids-limit', async () => {
    const outcome = await run(
      '--pids-limit',
      '8',
      'busybox',
      'sh',
      '-c',
      'for i in 1 2 3 4 5 6 7 8 9; do sleep 1 & done; wait',
    );
    expect(outcome.stderr).toMatch(/can't fork|Resource temporarily unavailable/);
  });

  it('halves a busy loop with --cpus 0.5', async () => {
    const busy = 'i=0; while [ $i -lt 100000000 ]; do i=$((i+1)); done';
    const outcome = await run(
      '--cpus',
      '0.5',
      'busybox',
      'sh',
      '-c',
      `timeout 2 sh -c '${busy}'; cat /sys/fs/cgroup/${v1 ? 'cpu/' : ''}cpu.stat`,
    );
    const throttled = Number(/nr_throttled (\d+)/.exec(outcome.stdout)?.[1]);
    expect(throttled, show(outcome)).toBeGreaterThan(5);
  });

  it.each([
    [['-m', '1m'], 'Minimum memory limit allowed is 6MB'],
    [['--cpus', '1000'], 'Range of CPUs is from 0.01 to'],
    [['--cpuset-cpus', '4000'], 'Requested CPUs are not available'],
    [['--memory-swap', '64m'], 'You should always set the Memory limit when using Memoryswap limit'],
    [['--cgroup-parent', '../../x'], 'Cannot use cgroup parent'],
    [['--device-read-bps', '/etc:1mb'], '/etc'],
  ])('refuses %j with exit 125', async (flags, message) => {
    const outcome = await run(...flags, 'busybox', 'true');
    expect(outcome.code, show(outcome)).toBe(125);
    expect(outcome.stderr).toContain(message);
  });

  it('says what v1 cannot do', async () => {
    const outcome = await run('--memory-high', '32m', 'busybox', 'true');
    expect(outcome.code).toBe(v1 ? 125 : 0);
    if (v1) expect(outcome.stderr).toContain('this host limits with cgroup v1');
  });

  it('sets --oom-score-adj', async () => {
    expect(
      (await run('--oom-score-adj', '500', 'busybox', 'cat', '/proc/self/oom_score_adj')).stdout.trim(),
    ).toBe('500');
  });

  it('shows the container its own cgroup as the root', async () => {
    const { stdout } = await run('busybox', 'cat', '/proc/self/cgroup');
    for (const line of stdout.trim().split('\n')) expect(line).toMatch(/:\/$/);
  });

  it('removes the cgroups of a container', async () => {
    const id = await box.ok(['run', '-d', '--network', 'none', 'busybox', 'sleep', '100']);
    const directories = Object.values(host.mounts).concat(
      host.unified === undefined ? [] : [host.unified.mount],
    );
    const find = () =>
      directories.flatMap((mount) =>
        readdirSync(mount)
          .filter((name) => name.startsWith('tinyrun'))
          .filter((name) => existsSync(`${mount}/${name}/${id}`)),
      );
    expect(find().length).toBeGreaterThan(0);
    await box.ok(['rm', '-f', id]);
    for (let i = 0; i < 50 && find().length > 0; i += 1)
      await new Promise((resolve) => setTimeout(resolve, 100));
    expect(find()).toEqual([]);
  });
});
