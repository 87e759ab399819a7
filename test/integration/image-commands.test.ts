import { afterAll, beforeAll, describe, expect } from 'vitest';
import { busyboxEntries, HOST_ARCHITECTURE, imageOf, layerOf } from '../harness/images.ts';
import { leftovers } from '../harness/pulling.ts';
import { needing } from '../harness/requires.ts';
import { show } from '../harness/sandbox.ts';
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
