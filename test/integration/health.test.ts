import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect } from 'vitest';
import { busyboxImage } from '../harness/images.ts';
import { needing } from '../harness/requires.ts';
import { type Seeded, seededSandbox } from '../harness/seed.ts';

const it = needing('root', 'overlay', 'nft', 'docker-registry', 'busybox-static');

const IMAGE_CHECK = { Test: ['CMD-SHELL', 'echo checked; test -e /well'], Interval: 200e6, Retries: 2 };

let box: Seeded;
beforeAll(async () => {
  box = await seededSandbox();
  await box.publish(await busyboxImage({ Healthcheck: IMAGE_CHECK }), 'checked');
  await box.ok(['pull', '-q', 'checked']);
});
afterEach(async () => {
  const ids = await box.ok(['ps', '-aq']);
  if (ids !== '') await box.ok(['rm', '-f', ...ids.split('\n')]);
});
afterAll(() => box.dispose());

const run = (...args: string[]) => box.ok(['run', '-d', '--network', 'none', ...args]);
const inspect = (format: string, name: string) => box.ok(['inspect', '--format', format, name]);
const status = (name: string) => inspect('{{.State.Health.Status}}', name);
const FAST = ['--health-interval', '100ms', '--health-retries', '2'];
const FOR_EVER = [
  'busybox',
  'sh',
  '-c',
  'trap "echo bye; exit 0" TERM; echo start; while :; do sleep 0.1; done',
];

interface Health {
  Status: string;
  FailingStreak: number;
  Log: { Start: string; End: string; ExitCode: number; Output: string }[];
}
const health = async (name: string) => JSON.parse(await inspect('{{json .State.Health}}', name)) as Health;

async function until(what: string, condition: () => Promise<boolean>, ms = 10_000): Promise<void> {
  const deadline = Date.now() + ms;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`Not within ${ms} ms: ${what}`);
    await sleep(50);
  }
}

describe('health checks', () => {
  it('follow the image’s HEALTHCHECK from starting over healthy to unhealthy and back', async () => {
    await run('--name', 'own', 'checked', 'sleep', '100');
    expect(await box.ok(['ps', '--format', '{{.Status}}'])).toMatch(/^Up .* \(health: starting\)$/);
    await box.ok(['exec', 'own', 'touch', '/well']);
    await until('it is healthy', async () => (await status('own')) === 'healthy');
    expect(await box.ok(['ps', '--format', '{{.Status}} {{.HealthStatus}}'])).toMatch(/\(healthy\) healthy$/);
    await box.ok(['exec', 'own', 'rm', '/well']);
    await until('it is unhealthy', async () => (await status('own')) === 'unhealthy');
    expect(await box.ok(['ps', '-q', '--filter', 'health=unhealthy'])).not.toBe('');
    const { FailingStreak, Log } = await health('own');
    expect(FailingStreak).toBeGreaterThanOrEqual(2);
    expect(Log.length).toBeLessThanOrEqual(5);
    expect(Log.at(-1)).toMatchObject({ ExitCode: 1, Output: 'checked\n' });
    await box.ok(['exec', 'own', 'touch', '/well']);
    await until('it is healthy again', async () => (await status('own')) === 'healthy');
    await until('there are five results', async () => (await health('own')).Log.length === 5);
    await box.ok(['stop', '-t', '0', 'own']);
    expect(await status('own')).toBe('unhealthy');
    const events = await box.ok(['events', '--since', '1h', '--until', '0s', '--format', '{{.Action}}']);
    const changes = events.split('\n').filter((line) => line.startsWith('health_status'));
    expect(changes).toEqual(['healthy', 'unhealthy', 'healthy'].map((word) => `health_status: ${word}`));
  });

  it('--no-healthcheck and flags go before the image', async () => {
    await run('--name', 'none', '--no-healthcheck', 'checked', 'sleep', '100');
    expect(await inspect('{{json .Config.Healthcheck}} {{json .State}}', 'none')).toMatch(
      /^\{"Test":\["NONE"\]\} (?!.*Health)/,
    );
    await run('--name', 'flags', '--health-cmd', 'exit 0', 'checked', 'sleep', '100');
    await until('it is healthy', async () => (await status('flags')) === 'healthy');
  });

  it('run in the container, as its user, with its limits, and leave no process', async () => {
    const command = 'id -u; echo $KEY; sleep 100 & exit 0';
    const id = await run(
      '--name',
      'inside',
      ...FAST,
      '--health-cmd',
      command,
      '-u',
      '1000',
      '-e',
      'KEY=v',
      '--init',
      ...FOR_EVER,
    );
    await until('it is healthy', async () => (await status('inside')) === 'healthy');
    expect((await health('inside')).Log[0]?.Output).toBe('1000\nv\n');
    await box.ok(['rm', '-f', 'inside']);
    expect(existsSync(join(box.root, 'containers', id))).toBe(false);
    expect(processes('sleep', '100')).toEqual([]);
  });

  it('cuts what a probe says, and ends one that hangs or cannot be run', async () => {
    await run('--name', 'loud', ...FAST, '--health-cmd', 'yes | head -c 100000', ...FOR_EVER);
    await run(
      '--name',
      'hangs',
      ...FAST,
      '--health-timeout',
      '200ms',
      '--health-cmd',
      'echo on; sleep 77',
      ...FOR_EVER,
    );
    await run('--name', 'lost', ...FAST, '--health-cmd', '/no/such', ...FOR_EVER);
    await until('hangs is unhealthy', async () => (await status('hangs')) === 'unhealthy');
    expect((await health('hangs')).Log[0]).toMatchObject({
      ExitCode: -1,
      Output: 'on\nHealth check exceeded timeout (200ms)',
    });
    await until('loud is healthy', async () => (await status('loud')) === 'healthy');
    expect((await health('loud')).Log[0]?.Output.length).toBe(4096);
    await until('lost is unhealthy', async () => (await status('lost')) === 'unhealthy');
    expect((await health('lost')).Log[0]?.ExitCode).toBe(127);
    await box.ok(['rm', '-f', 'hangs']);
    expect(processes('sleep', '77')).toEqual([]);
  });

  it('do not count what fails in the start period', async () => {
    await run(
      '--name',
      'slow',
      '--health-cmd',
      'test -e /well',
      '--health-interval',
      '10s',
      '--health-start-period',
      '60s',
      '--health-start-interval',
      '100ms',
      '--health-retries',
      '1',
      ...FOR_EVER,
    );
    await until('probes have failed', async () => (await health('slow')).Log.length > 2);
    expect(await health('slow')).toMatchObject({ Status: 'starting', FailingStreak: 0 });
    await box.ok(['exec', 'slow', 'touch', '/well']);
    await until('it is healthy', async () => (await status('slow')) === 'healthy', 2000);
  });

  it('wait while the container is paused', async () => {
    await run('--name', 'still', ...FAST, '--health-cmd', 'true', ...FOR_EVER);
    await until('it is healthy', async () => (await status('still')) === 'healthy');
    await box.ok(['pause', 'still']);
    const before = (await health('still')).Log.at(-1)?.End;
    await sleep(500);
    expect((await health('still')).Log.at(-1)?.End).toBe(before);
    expect(await box.ok(['ps', '--format', '{{.State}}'])).toBe('paused');
    await box.ok(['unpause', 'still']);
    await until('it goes on', async () => (await health('still')).Log.at(-1)?.End !== before);
  });
});

describe('--health-on-failure', () => {
  it('restart asks it to stop and starts it again, without any policy', async () => {
    await run(
      '--name',
      'again',
      ...FAST,
      '--health-cmd',
      'false',
      '--health-on-failure',
      'restart',
      ...FOR_EVER,
    );
    await until('it was started again', async () => Number(await inspect('{{.RestartCount}}', 'again')) >= 2);
    expect((await box.ok(['logs', 'again'])).split('\n').slice(0, 4)).toEqual([
      'start',
      'bye',
      'start',
      'bye',
    ]);
    await box.ok(['stop', '-t', '0', 'again']);
    expect(await inspect('{{.State.Status}}', 'again')).toBe('exited');
  });

  it('kill leaves the rest to the restart policy', async () => {
    await run(
      '--name',
      'killed',
      ...FAST,
      '--restart',
      'on-failure:1',
      '--health-cmd',
      'false',
      '--health-on-failure',
      'kill',
      ...FOR_EVER,
    );
    await until(
      'it has given up',
      async () =>
        (await inspect('{{.State.Status}} {{.State.ExitCode}} {{.RestartCount}}', 'killed')) ===
        'exited 137 1',
    );
  });

  it('stop is the end, whatever the policy', async () => {
    await run(
      '--name',
      'ended',
      ...FAST,
      '--restart',
      'always',
      '--health-cmd',
      'false',
      '--health-on-failure',
      'stop',
      ...FOR_EVER,
    );
    await until(
      'it has ended',
      async () => (await inspect('{{.State.Status}} {{.State.ExitCode}}', 'ended')) === 'exited 0',
    );
    expect(await box.ok(['logs', 'ended'])).toBe('start\nbye');
  });
});

function processes(...command: string[]): string[] {
  return readdirSync('/proc').filter((pid) => {
    try {
      return (
        /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/cmdline`, 'utf8') === [...command, ''].join('\0')
      );
    } catch {
      return false;
    }
  });
}
