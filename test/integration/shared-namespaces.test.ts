import { afterAll, afterEach, beforeAll, describe, expect } from 'vitest';
import { needing } from '../harness/requires.ts';
import { type Seeded, seededSandbox } from '../harness/seed.ts';

const it = needing('root', 'overlay', 'nft', 'docker-registry', 'busybox-static');

let box: Seeded;
const start = (name: string, ...args: string[]) =>
  box.ok(['run', '-d', '--name', name, '--network', 'none', ...args]);
const run = (...args: string[]) => box.ok(['run', '--rm', '--network', 'none', ...args]);

beforeAll(async () => {
  box = await seededSandbox();
});
afterEach(async () => {
  const ids = await box.ok(['ps', '-aq']);
  if (ids !== '') await box.ok(['rm', '-f', ...ids.split('\n')]);
});
afterAll(() => box.dispose());

describe('--pid container:', () => {
  it('sees and signals the processes of the other, and leaves none of its own', async () => {
    await start('main', 'busybox', 'sleep', '1000');
    expect(await run('--pid', 'container:main', 'busybox', 'ps')).toMatch(/ 1 root {5}sleep 1000\n/);
    await start('side', '--pid', 'container:main', 'busybox', 'sh', '-c', 'sleep 301 & sleep 302');
    await expect.poll(() => box.ok(['exec', 'main', 'ps'])).toContain('sleep 301');
    await box.ok(['rm', '-f', 'side']);
    expect(await box.ok(['exec', 'main', 'ps'])).not.toMatch(/sleep 30[12]/);
    expect(await box.ok(['inspect', '-f', '{{.State.Running}}', 'main'])).toBe('true');
  });

  it('is refused where the other does not run', async () => {
    await box.ok(['create', '--name', 'idle', 'busybox']);
    for (const [name, message] of [
      ['idle', /cannot join PID of a non running container: [0-9a-f]{64}/],
      ['nobody', /No such container: nobody/],
    ] as const) {
      const outcome = await box.run(['run', '--rm', '--pid', `container:${name}`, 'busybox', 'true']);
      expect([outcome.code, outcome.stderr]).toEqual([125, expect.stringMatching(message)]);
    }
  });
});

describe('--ipc container:', () => {
  it('shares System V and POSIX memory', async () => {
    await start(
      'main',
      '--ipc',
      'shareable',
      'busybox',
      'sh',
      '-c',
      'echo from main >/dev/shm/file; exec sleep 1000',
    );
    const side = ['--ipc', 'container:main', 'busybox', 'sh', '-c'];
    expect(
      await run(...side, 'cat /dev/shm/file; echo from side >/dev/shm/more; readlink /proc/self/ns/ipc'),
    ).toBe(`from main\n${await box.ok(['exec', 'main', 'readlink', '/proc/self/ns/ipc'])}`);
    expect(await box.ok(['exec', 'main', 'cat', '/dev/shm/more'])).toBe('from side');
  });

  it('gives what the other has there, never the host’s, where that is a link', async () => {
    await start(
      'main',
      '--privileged',
      'busybox',
      'sh',
      '-c',
      'umount /dev/shm; rmdir /dev/shm; ln -s /etc /dev/shm; exec sleep 1000',
    );
    await expect.poll(() => box.ok(['exec', 'main', 'readlink', '/dev/shm'])).toBe('/etc');
    expect(await run('--ipc', 'container:main', 'busybox', 'ls', '/dev/shm')).not.toMatch(/^apt$/m);
  });
});
