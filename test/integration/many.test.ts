import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { needing } from '../harness/requires.ts';
import { type Seeded, seededSandbox } from '../harness/seed.ts';

const it = needing('root', 'overlay', 'nft', 'docker-registry', 'busybox-static');

const COUNT = 60;
const AT_ONCE = 4;

let box: Seeded;
beforeAll(async () => {
  box = await seededSandbox();
});
afterAll(() => box.dispose());

const listing = (path: string): string[] => readdirSync(path).filter((name) => !name.startsWith('.'));
const inspect = (format: string, name: string) => box.ok(['inspect', '--format', format, name]);

/** kB of the monitor of a container. */
function memoryOf(id: string): number {
  const state = readFileSync(join(box.root, 'containers', id, 'state.json'), 'utf8');
  const { monitorPid } = JSON.parse(state) as { monitorPid: number };
  return Number(/^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${monitorPid}/smaps_rollup`, 'utf8'))?.[1]);
}

describe('many containers', () => {
  it(`${COUNT} at once start, are listed, stop and leave nothing`, async () => {
    const ids: string[] = [];
    const starter = async (): Promise<void> => {
      while (ids.length < COUNT) {
        const at = ids.push('') - 1;
        const name = `m${at}`;
        ids[at] = await box.ok([
          'run',
          '-d',
          '--name',
          name,
          '--restart',
          'always',
          'busybox',
          'sleep',
          '1000',
        ]);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, starter));
    const listed = (await box.ok(['ps', '-q', '--no-trunc'])).split('\n');
    expect(listed.sort()).toEqual([...ids].sort());
    await sleep(1500);
    const memory = ids.reduce((sum, id) => sum + memoryOf(id), 0) / COUNT;
    expect(memory).toBeLessThan(150);
    await box.ok(['stop', '-t', '0', ...ids]);
    expect(await box.ok(['ps', '-q'])).toBe('');
    await box.ok(['rm', ...ids]);
    expect(listing(join(box.root, 'containers'))).toEqual([]);
    expect(listing(join(box.runRoot, 'containers'))).toEqual([]);
    expect(listing(join(box.runRoot, 'leases', 'bridge'))).toEqual([]);
  }, 120_000);
});

describe('a flood of output', () => {
  it('with a reader that stands still grows nothing and hinders nobody', async () => {
    const limits = ['--log-opt', 'max-size=1m', '--log-opt', 'max-file=3'];
    const script =
      'sleep 0.5; yes 0123456789012345678901234567890123456789 | head -c 100000000; echo; echo over; sleep 100';
    const run = [
      'run',
      '-d',
      '--name',
      'flood',
      '--network',
      'none',
      ...limits,
      'busybox',
      'sh',
      '-c',
      script,
    ];
    const id = await box.ok(run);
    const reader = box.start(['attach', '--no-stdin', 'flood']);
    reader.stdout.pause();
    const logs = join(box.root, 'containers', id, 'log');
    const logged = (): number =>
      listing(logs).reduce(
        (sum, name) => sum + (statSync(join(logs, name), { throwIfNoEntry: false })?.size ?? 0),
        0,
      );
    const ended = async (): Promise<boolean> => (await box.ok(['logs', '-n', '1', 'flood'])) === 'over';
    let largest = 0;
    let memory = 0;
    for (const until = Date.now() + 40_000; Date.now() < until && !(await ended()); await sleep(200)) {
      largest = Math.max(largest, logged());
      memory = Math.max(memory, memoryOf(id));
      await box.ok(['run', '--rm', '--network', 'none', 'busybox', 'true'], { timeout: 5000 });
    }
    reader.kill('SIGKILL');
    expect(await ended()).toBe(true);
    expect(largest).toBeLessThan(3 * 2 ** 20 + 2 * 128 * 1024);
    expect(memory).toBeLessThan(400);
    expect(await inspect('{{.State.Status}}', 'flood')).toBe('running');
    await box.ok(['rm', '-f', 'flood']);
  }, 60_000);
});
