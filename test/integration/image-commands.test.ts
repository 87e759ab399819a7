import { afterAll, beforeAll, describe, expect } from 'vitest';
import { busyboxEntries, HOST_ARCHITECTURE, imageOf, layerOf } from '../harness/images.ts';
import { leftovers } from '../harness/pulling.ts';
import { needing } from '../harness/requires.ts';
import { makeSandbox, show } from '../harness/sandbox.ts';
import { type Seeded, seededSandbox } from '../harness/seed.ts';

const it = needing('root', 'overlay', 'docker-registry', 'busybox-static');

let box: Seeded;
beforeAll(async () => {
  box = await seededSandbox();
});
afterAll(async () => {
  const left = await leftovers(box.root);
  await box.dispose();
  expect(left).toEqual([]);
});

const published = async (name: string, labels: Readonly<Record<string, string>> = {}) => {
  const layers = [await layerOf(busyboxEntries()), await layerOf([{ name: 'own', content: name }])];
  const platform = { os: 'linux', architecture: HOST_ARCHITECTURE };
  await box.publish(imageOf({ layers, platform, config: { Labels: labels } }), name);
  await box.ok(['pull', '-q', name]);
};

describe('tag', () => {
  it('gives a second name that runs, and rmi takes only that', async () => {
    await box.ok(['tag', 'busybox', 'localhost:5000/mine:v1']);
    expect(await box.ok(['run', '--rm', '--network', 'none', 'localhost:5000/mine:v1', 'echo', 'hi'])).toBe(
      'hi',
    );
    expect(await box.ok(['images', '--format', '{{.Repository}}:{{.Tag}}'])).toContain(
      'localhost:5000/mine:v1',
    );
    expect(await box.ok(['rmi', 'localhost:5000/mine:v1'])).toBe('Untagged: localhost:5000/mine:v1');
    await box.ok(['run', '--rm', '--network', 'none', 'busybox', 'true']);
  });

  it('says what is not there, in Docker’s words', async () => {
    const missing = await box.run(['tag', 'nosuch', 'x']);
    expect(show(missing)).toBe(
      show({ code: 1, stdout: '', stderr: 'tinyrun: No such image: nosuch:latest\n' }),
    );
    const bad = await box.run(['tag', 'busybox', 'Upper:x']);
    expect(bad.stderr).toContain('must be lowercase');
  });
});

describe('history', () => {
  it('lists the steps, the newest first, with the sizes of their layers', async () => {
    await published('steps');
    const lines = (await box.ok(['history', 'steps'])).split('\n');
    expect(lines[0]).toMatch(/^IMAGE +CREATED +CREATED BY +SIZE +COMMENT$/);
    expect(lines).toHaveLength(3);
    expect(lines[1]).toMatch(/^[0-9a-f]{12} +N\/A +layer 1 +\S+B/);
    expect(lines[2]).toMatch(/^<missing> .*layer 0 +\S+MB/);
    expect(await box.ok(['history', '-q', 'steps'])).toMatch(/^[0-9a-f]{12}\n<missing>$/);
    const json = (await box.ok(['history', '--no-trunc', '--format', 'json', 'steps'])).split('\n')[0] ?? '';
    expect(JSON.parse(json)).toMatchObject({ CreatedBy: 'layer 1', ID: expect.stringMatching(/^sha256:/) });
  });
});

describe('images --filter', () => {
  it('finds by label and by name, and refuses other keys', async () => {
    await published('labelled', { 'org.example.stage': 'test' });
    const names = (...filters: string[]) =>
      box.ok(['images', '--format', '{{.Repository}}', ...filters.flatMap((one) => ['--filter', one])]);
    expect(await names('label=org.example.stage=test')).toBe('labelled');
    expect(await names('reference=busy*')).toBe('busybox');
    const refused = await box.run(['images', '--filter', 'color=red']);
    expect(refused.code).toBe(125);
    expect(refused.stderr).toContain("invalid filter 'color'");
  });
});

describe('system df and image prune', () => {
  it('counts, and gives back what nothing uses', async () => {
    await published('used');
    await published('unused');
    await box.ok(['create', '--name', 'keeper', '--network', 'none', 'used', 'true']);
    const lines = (await box.ok(['system', 'df'])).split('\n');
    expect(lines[0]).toMatch(/^TYPE +TOTAL +ACTIVE +SIZE +RECLAIMABLE$/);
    expect(lines[1]).toMatch(/^Images +\d+ +1 +\S+B +\S+B \(\d+%\)$/);
    expect(lines[2]).toMatch(/^Containers +1 +0 +\S+B +\S+B/);

    expect(await box.ok(['image', 'prune', '-f'])).toBe('Total reclaimed space: 0B');
    const asked = await box.run(['image', 'prune']);
    expect(asked.code).toBe(1);
    expect(asked.stderr).toContain('--force');
    const pruned = await box.ok(['image', 'prune', '-a', '-f', '--filter', 'label!=org.example.stage']);
    expect(pruned).toMatch(/^Deleted Images:\n/);
    expect(pruned).toContain('untagged: unused:latest\n');
    expect(pruned).toMatch(/\ndeleted: sha256:[0-9a-f]{64}\n/);
    expect(pruned).toMatch(/\nTotal reclaimed space: [\d.]+[kM]B$/);
    const left = await box.ok(['images', '--format', '{{.Repository}}']);
    expect(left.split('\n').sort()).toEqual(['labelled', 'used']);
    await box.ok(['start', '-a', 'keeper']);
    await box.ok(['rm', 'keeper']);
  });
});

describe('pull of several images', () => {
  it('takes several names, and goes on after one that is not there', async () => {
    await published('one');
    await published('two');
    await box.ok(['rmi', 'one', 'two']);
    const outcome = await box.run(['pull', '-q', 'one', 'nosuch', 'two']);
    expect(show(outcome)).toBe(
      show({
        code: 1,
        stdout: 'docker.io/library/one:latest\ndocker.io/library/two:latest\n',
        stderr: outcome.stderr,
      }),
    );
    expect(outcome.stderr).toMatch(/^tinyrun: .*nosuch.*not found/);
  });

  it('takes all tags of a repository', async () => {
    const platform = { os: 'linux', architecture: HOST_ARCHITECTURE };
    for (const tag of ['1.0', '2.0']) {
      await box.publish(
        imageOf({ layers: [await layerOf([{ name: 'tag', content: tag }])], platform }),
        'tags',
        tag,
      );
    }
    const pulled = await box.ok(['pull', '--all-tags', 'tags']);
    expect(pulled).toContain('1.0: Pulling from library/tags\n');
    expect(pulled).toContain('Status: Downloaded newer image for tags:2.0\n');
    expect(pulled.endsWith('\ndocker.io/library/tags')).toBe(true);
    expect((await box.ok(['images', '--format', '{{.Tag}}', 'tags'])).split('\n').sort()).toEqual([
      '1.0',
      '2.0',
    ]);
    const wrong = await box.run(['pull', '-a', 'tags:1.0']);
    expect(wrong.stderr).toContain("tag can't be used with --all-tags/-a");
  });
});

describe('manifest inspect', () => {
  it('shows what the registry has, as it is or to be read', async () => {
    await published('listed');
    const raw = await box.ok(['manifest', 'inspect', '--raw', 'listed']);
    const pretty = await box.ok(['manifest', 'inspect', 'listed']);
    expect(JSON.parse(pretty)).toEqual(JSON.parse(raw));
    expect(pretty).toContain('\n   "schemaVersion": 2');
    const missing = await box.run(['manifest', 'inspect', 'listed:nosuch']);
    expect(missing.code).toBe(1);
    expect(missing.stderr).toContain('not found');
  });
});

describe('registry serve', () => {
  it('gives the images of the store to another machine', async () => {
    await published('shared');
    await box.ok(['tag', 'shared', 'localhost:5000/team/app:v1']);
    const server = box.start(['registry', 'serve', '--listen', '127.0.0.1:0']);
    const other = makeSandbox();
    try {
      const address = await new Promise<string>((resolve, reject) => {
        server.stdout.on('data', (chunk: Buffer) => {
          const found = /^Serving images at http:\/\/(\S+)\n$/.exec(chunk.toString());
          if (found?.[1] === undefined) reject(new Error(chunk.toString()));
          else resolve(found[1]);
        });
        server.once('close', () => reject(new Error('the server ended')));
      });
      const run = ['run', '--rm', '--network', 'none'];
      expect(await other.ok([...run, '-q', `${address}/library/shared`, 'cat', '/own'])).toBe('shared');
      expect(await other.ok(['pull', '-q', `${address}/team/app:v1`])).toBe(`${address}/team/app:v1`);
      // What comes later is there, too.
      await box.ok(['tag', 'shared', 'later']);
      await other.ok(['pull', '-q', `${address}/library/later`]);
      const refused = await other.run(['push', `${address}/library/later`]);
      expect(refused.code).toBe(1);
      expect(refused.stderr).toContain('the registry is read-only');
    } finally {
      const ended = new Promise((resolve) => server.once('close', resolve));
      server.kill('SIGTERM');
      expect(await ended).toBe(0);
      await other.dispose();
    }
  });

  it('says what it cannot do', async () => {
    const layout = await box.run(['registry', 'serve', '--layout', '/nowhere']);
    expect(layout.stderr).toContain('it is no OCI image layout');
    const listen = await box.run(['registry', 'serve', '--listen', 'x:y']);
    expect(listen.code).toBe(125);
    expect(listen.stderr).toContain('expected ADDRESS:PORT');
  });
});
