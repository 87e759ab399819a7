import { afterAll, beforeAll, describe, expect } from 'vitest';
import { needing } from '../harness/requires.ts';
import { type Seeded, seededSandbox } from '../harness/seed.ts';

const it = needing('root', 'overlay', 'nft', 'docker-registry', 'busybox-static');

let box: Seeded;
beforeAll(async () => {
  box = await seededSandbox();
});
afterAll(async () => {
  await box.dispose();
});

/** What has happened so far, `type action` each. */
async function past(...filters: string[]): Promise<string[]> {
  const text = await box.ok([
    ...['events', '--since', '0', '--until', '0s', '--format', '{{.Type}} {{.Action}}'],
    ...filters.flatMap((filter) => ['--filter', filter]),
  ]);
  return text === '' ? [] : text.split('\n');
}

describe('events', () => {
  it('tells the life of a container, whichever commands it was lived by', async () => {
    await box.ok([
      'run',
      '-d',
      '--name',
      'one',
      '--network',
      'none',
      '--label',
      'a=b',
      'busybox',
      'sleep',
      '99',
    ]);
    await box.ok(['exec', 'one', 'true']);
    await box.ok(['pause', 'one']);
    await box.ok(['unpause', 'one']);
    await box.ok(['update', '--pids-limit', '50', 'one']);
    await box.ok(['top', 'one']);
    await box.ok(['rename', 'one', 'uno']);
    await box.ok(['kill', '-s', 'USR1', 'uno']);
    await box.ok(['restart', '-t', '0', 'uno']);
    await box.ok(['stop', '-t', '0', 'uno']);
    await box.ok(['rm', 'uno']);
    const stopped = ['kill', 'kill', 'die', 'stop'];
    expect(await past('type=container', 'label=a=b')).toEqual(
      [
        ...[
          'create',
          'start',
          'exec_create: true',
          'exec_start: true',
          'exec_die',
          'pause',
          'unpause',
          'update',
        ],
        ...['top', 'rename', 'kill', ...stopped, 'start', 'restart', ...stopped, 'destroy'],
      ].map((action) => `container ${action}`),
    );
    expect(await past('container=one', 'event=rename')).toEqual([]);
    expect(await past('container=uno', 'event=rename')).toEqual(['container rename']);
  });

  it('follows, and says what Docker’s client says', async () => {
    const events = box.start(['events', '--filter', 'type=container', '--filter', 'container=two']);
    let text = '';
    events.stdout.on('data', (chunk) => {
      text += chunk;
    });
    // The first of them may come before the command listens: what counts is that none is missing in the end.
    const begun = Date.now();
    while (text === '' && Date.now() - begun < 20_000) {
      await box.run(['run', '--rm', '--name', 'two', '--network', 'none', 'busybox', 'sh', '-c', 'exit 3']);
    }
    await box.run(['run', '--rm', '--name', 'two', '--network', 'none', 'busybox', 'sh', '-c', 'exit 4']);
    await new Promise((resolve) => setTimeout(resolve, 300));
    const ended = new Promise((resolve) => events.on('close', resolve));
    events.kill('SIGINT');
    expect(await ended).toBe(130);
    const last = text.trimEnd().split('\n').slice(-5);
    expect(last.map((line) => line.split(' ').slice(1, 3).join(' '))).toEqual(
      ['create', 'attach', 'start', 'die', 'destroy'].map((action) => `container ${action}`),
    );
    expect(last[3]).toMatch(
      /^\S+T\S+ container die [0-9a-f]{64} \(execDuration=\d+, exitCode=4, image=busybox, name=two\)$/,
    );
  });

  it('tells of images', async () => {
    await box.ok(['tag', 'busybox', 'other:1']);
    await box.ok(['rmi', 'other:1']);
    expect(await past('type=image')).toEqual(['image pull', 'image tag', 'image untag']);
    const json = await box.ok([
      ...['events', '--since', '1h', '--until', '0s', '--filter', 'event=pull', '--format', 'json'],
    ]);
    expect(JSON.parse(json)).toMatchObject({
      status: 'pull',
      Type: 'image',
      Action: 'pull',
      Actor: { ID: 'busybox:latest', Attributes: { name: 'busybox' } },
      scope: 'local',
    });
  });
});
