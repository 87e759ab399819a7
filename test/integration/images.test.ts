import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect } from 'vitest';
import { type Digest, shortId } from '../../src/oci/digest.ts';
import { type FaultyRegistry, startFaultyRegistry } from '../harness/faulty-registry.ts';
import {
  type BuiltImage,
  type BuiltLayer,
  busyboxEntries,
  documentOf,
  HOST_ARCHITECTURE,
  imageOf,
  indexOf,
  layerOf,
} from '../harness/images.ts';
import { failureLine, leftovers, publishTo } from '../harness/pulling.ts';
import { needing } from '../harness/requires.ts';
import { makeSandbox, type Sandbox, show } from '../harness/sandbox.ts';

const it = needing('root', 'overlay', 'busybox-static');

const HOST = { os: 'linux', architecture: HOST_ARCHITECTURE };

let registry: FaultyRegistry;
let box: Sandbox;
let base: BuiltLayer;
beforeAll(async () => {
  registry = await startFaultyRegistry();
  box = makeSandbox(registry.host);
  base = await layerOf(busyboxEntries());
});
afterAll(async () => {
  await registry.close();
  await box.dispose();
});
/** Each test begins with an empty store, and shows that everything can be removed. */
afterEach(async () => {
  for (const id of (await box.ok(['ps', '-a', '-q'])).split('\n').filter(Boolean))
    await box.ok(['rm', '-f', id]);
  const ids = (await box.ok(['images', '-a', '-q', '--no-trunc'])).split('\n').filter(Boolean);
  if (ids.length > 0) await box.ok(['rmi', '-f', ...ids]);
  expect(['blobs/sha256', 'layers'].flatMap((directory) => listing(join(box.root, directory)))).toEqual([]);
  expect(await leftovers(box.root)).toEqual([]);
});

function listing(directory: string): string[] {
  return existsSync(directory) ? readdirSync(directory) : [];
}

/** The digest of the config: the second document of an image. */
const idOf = ({ blobs, target }: BuiltImage): Digest => [...blobs.keys()][1] ?? target.descriptor.digest;

async function imageWith(content: string, created = '2024-01-02T03:04:05Z'): Promise<BuiltImage> {
  return imageOf({
    layers: [base, await layerOf([{ name: 'content', content }])],
    platform: HOST,
    created,
    config: { Cmd: ['cat', '/content'] },
  });
}

async function pulled(image: BuiltImage, ...names: string[]): Promise<BuiltImage> {
  for (const name of names) {
    const [repository = '', tag = 'latest'] = name.split(':');
    publishTo(registry, repository.includes('/') ? repository : `library/${repository}`, tag, image);
    await box.ok(['pull', '-q', name]);
  }
  return image;
}

const table = async (...flags: string[]): Promise<string[][]> =>
  (await box.ok(['images', ...flags])).split('\n').map((line) => line.trimEnd().split(/ {2,}/));

describe('images', () => {
  it('is a heading alone for an empty store', async () => {
    expect(await table()).toEqual([['REPOSITORY', 'TAG', 'IMAGE ID', 'CREATED', 'SIZE']]);
    expect(await box.ok(['images', '-q'])).toBe('');
    expect(await box.ok(['images', '--format', '{{.ID}}'])).toBe('');
  });

  it('lists every tag, the newest image first', async () => {
    const old = await pulled(await imageWith('old', '2020-01-01T00:00:00Z'), 'old:v1');
    const now = new Date(Date.now() - 3 * 3600_000).toISOString();
    const recent = await pulled(await imageWith('recent', now), 'some/recent', 'some/recent:v2');
    const [heading, ...rows] = await table();
    expect(heading).toEqual(['REPOSITORY', 'TAG', 'IMAGE ID', 'CREATED', 'SIZE']);
    const years = new Date().getUTCFullYear() - 2020;
    expect(rows.slice(0, 2).sort()).toEqual([
      ['some/recent', 'latest', shortId(idOf(recent)), '3 hours ago', expect.stringMatching(/^[\d.]+MB$/)],
      ['some/recent', 'v2', shortId(idOf(recent)), '3 hours ago', expect.stringMatching(/^[\d.]+MB$/)],
    ]);
    expect(rows[2]?.slice(0, 3)).toEqual(['old', 'v1', shortId(idOf(old))]);
    expect([`${years} years ago`, `${years - 1} years ago`]).toContain(rows[2]?.[3]);
  });

  it('-q, --no-trunc, --digests, a name, formats', async () => {
    const image = await pulled(await imageWith('one'), 'one', 'one:v2', 'other/one');
    const id = idOf(image);
    const { digest } = image.target.descriptor;
    expect(await box.ok(['images', '-q'])).toBe(shortId(id));
    expect(await box.ok(['images', '-q', '--no-trunc'])).toBe(id);
    const [heading, ...rows] = await table('--digests');
    expect(heading).toEqual(['REPOSITORY', 'TAG', 'DIGEST', 'IMAGE ID', 'CREATED', 'SIZE']);
    expect(rows.map((row) => row.slice(0, 4)).sort()).toEqual([
      ['one', 'latest', digest, shortId(id)],
      ['one', 'v2', digest, shortId(id)],
      ['other/one', 'latest', digest, shortId(id)],
    ]);
    const names = async (...words: string[]): Promise<string[]> =>
      (await box.ok(['images', '--format', '{{.Repository}}:{{.Tag}}', ...words])).split('\n').sort();
    expect(await names('one')).toEqual(['one:latest', 'one:v2']);
    expect(await names('one:v2')).toEqual(['one:v2']);
    expect(await names('docker.io/library/one:v2')).toEqual(['one:v2']);
    expect(await names('other/one')).toEqual(['other/one:latest']);
    expect(await names('nosuch')).toEqual(['']);
    const json = (await box.ok(['images', '--format', 'json', 'one:v2'])).split('\n');
    expect(json.length).toBe(1);
    expect(JSON.parse(json[0] ?? '')).toMatchObject({ Repository: 'one', Tag: 'v2', ID: shortId(id) });
    expect(await box.ok(['images', '--format', 'table {{.ID}}\t{{.Tag}}', 'one:v2'])).toMatch(
      new RegExp(`^IMAGE ID +TAG\\n${shortId(id)} +v2$`),
    );
    expect(failureLine(await box.run(['images', '--format', '{{.Nonsense}}']), 1)).toMatch(/Nonsense/);
  });

  it('shows an image that lost its tag to a newer one as <none>', async () => {
    const before = await pulled(await imageWith('before'), 'moving');
    const after = await pulled(await imageWith('after'), 'moving');
    const rows = (await table('-a')).slice(1).map((row) => row.slice(0, 3));
    expect(rows.sort()).toEqual([
      ['moving', '<none>', shortId(idOf(before))],
      ['moving', 'latest', shortId(idOf(after))],
    ]);
    expect(await box.ok(['run', '--rm', '--network', 'none', shortId(idOf(before))])).toBe('before');
    expect(await box.ok(['run', '--rm', '--network', 'none', 'moving'])).toBe('after');
  });

  it('an image of two names of which one moves keeps the other', async () => {
    const image = await pulled(await imageWith('two names'), 'twin', 'twin:stable');
    await pulled(await imageWith('newer'), 'twin');
    expect(await box.ok(['images', '-q', '--no-trunc', 'twin:stable'])).toBe(idOf(image));
    expect(await box.ok(['run', '--rm', '--network', 'none', 'twin:stable'])).toBe('two names');
  });

  it.each([
    ['config', 'pull'],
    ['manifest', 'pull'],
    ['config', 'rmi'],
    ['manifest', 'rmi'],
  ])('does not fail because the %s of one is damaged, and %s mends it', async (part, cure) => {
    const [whole, broken, third] = [
      await imageWith('whole'),
      await imageWith('broken'),
      await imageWith('third'),
    ];
    await pulled(whole, 'whole');
    await pulled(broken, 'broken');
    await pulled(third, 'third');
    const digest = part === 'config' ? idOf(broken) : broken.target.descriptor.digest;
    const path = join(box.root, 'blobs/sha256', digest.slice('sha256:'.length));
    // As long as it was: the size does not tell.
    writeFileSync(path, readFileSync(path).fill('x'));
    const names = async (): Promise<string[]> =>
      (await box.ok(['images', '--format', '{{.Repository}}'])).split('\n').sort();
    expect(await names()).toEqual(expect.arrayContaining(['third', 'whole']));
    if (part === 'config') {
      const outcome = await box.run(['run', '--rm', '--network', 'none', 'broken']);
      expect(failureLine(outcome, 125)).toMatch(/image config/);
    }
    expect(await box.ok(['rmi', 'third'])).toContain('Untagged: third:latest');
    expect(await box.ok(['run', '--rm', '--network', 'none', 'whole'])).toBe('whole');
    if (cure === 'rmi') {
      expect(await box.ok(['rmi', 'broken'])).toContain('Untagged: broken:latest');
      expect(await names()).toEqual(['whole']);
    } else {
      await box.ok(['pull', '-q', 'broken']);
      expect(await box.ok(['run', '--rm', '--network', 'none', 'broken'])).toBe('broken');
    }
  });
});

describe('rmi', () => {
  it('untags, and deletes with the last tag, in Docker’s lines', async () => {
    const image = await pulled(await imageWith('gone'), 'gone', 'gone:v2');
    const id = idOf(image);
    const { digest } = image.target.descriptor;
    expect(await box.ok(['rmi', 'gone'])).toBe('Untagged: gone:latest');
    const lines = (await box.ok(['rmi', 'gone:v2'])).split('\n');
    expect(lines.slice(0, 3)).toEqual(['Untagged: gone:v2', `Untagged: gone@${digest}`, `Deleted: ${id}`]);
    // Docker names the layers that went, too.
    expect(lines.slice(3).length).toBe(2);
    for (const line of lines.slice(3)) expect(line).toMatch(/^Deleted: sha256:[0-9a-f]{64}$/);
    expect(await table()).toHaveLength(1);
  });

  it('keeps the layers that others need', async () => {
    await pulled(await imageWith('left'), 'left');
    await pulled(await imageWith('right'), 'right');
    const lines = (await box.ok(['rmi', 'left'])).split('\n');
    expect(lines.filter((line) => line.startsWith('Deleted:')).length).toBe(2);
    expect(await box.ok(['run', '--rm', '--network', 'none', 'right'])).toBe('right');
    await pulled(await imageWith('left'), 'left');
    expect(await box.ok(['run', '--rm', '--network', 'none', 'left'])).toBe('left');
  });

  it('by id: one repository goes, several need force', async () => {
    const image = await pulled(await imageWith('by id'), 'byid', 'byid:v2', 'other/byid');
    const id = shortId(idOf(image));
    const refused = failureLine(await box.run(['rmi', id]), 1);
    expect(refused).toBe(
      `conflict: unable to delete ${id} (must be forced) - image is referenced in multiple repositories`,
    );
    const lines = (await box.ok(['rmi', '-f', id])).split('\n').filter((line) => line.startsWith('Untagged'));
    const { digest } = image.target.descriptor;
    expect(lines.sort()).toEqual(
      ['byid:latest', 'byid:v2', `byid@${digest}`, 'other/byid:latest', `other/byid@${digest}`]
        .map((name) => `Untagged: ${name}`)
        .sort(),
    );
  });

  it('refuses images in use, and says by what', async () => {
    const image = await pulled(await imageWith('used'), 'used');
    const container = await box.ok(['create', '--network', 'none', 'used']);
    expect(failureLine(await box.run(['rmi', 'used']), 1)).toBe(
      `conflict: unable to remove repository reference "used" (must force) - container ${container.slice(0, 12)} is using its referenced image ${shortId(idOf(image))}`,
    );
    expect(failureLine(await box.run(['rmi', shortId(idOf(image))]), 1)).toMatch(
      /\(must be forced\) - image is being used by stopped container /,
    );
    expect(await box.ok(['rmi', '-f', 'used'])).toContain('Untagged: used:latest');
    // The container still has all that it needs.
    const started = await box.run(['start', '-a', container]);
    expect(started, show(started)).toMatchObject({ code: 0, stdout: 'used' });
    await box.ok(['rm', container]);
  });

  it('refuses an image of a running container even by force', async () => {
    const image = await pulled(await imageWith('running'), 'running');
    const container = await box.ok(['run', '-d', '--network', 'none', 'running', 'sleep', '60']);
    expect(failureLine(await box.run(['rmi', '-f', shortId(idOf(image))]), 1)).toBe(
      `conflict: unable to delete ${shortId(idOf(image))} (cannot be forced) - image is being used by running container ${container.slice(0, 12)}`,
    );
    await box.ok(['rm', '-f', container]);
  });

  it('says what is not there, and goes on with the others', async () => {
    await pulled(await imageWith('there'), 'there');
    const outcome = await box.run(['rmi', 'nosuch', 'there', 'sha256:0123']);
    expect(outcome.code).toBe(1);
    expect(outcome.stdout).toContain('Untagged: there:latest\n');
    expect(outcome.stderr).toBe(
      'tinyrun: No such image: nosuch:latest\ntinyrun: No such image: sha256:0123\n',
    );
    expect(failureLine(await box.run(['rmi', 'UPPER']), 1)).toMatch(/must be lowercase/);
  });

  it('by digest, of a platform, of an index', async () => {
    const other = HOST_ARCHITECTURE === 'amd64' ? 'arm64' : 'amd64';
    const [own, foreign] = [
      await imageWith('own'),
      imageOf({ layers: [base], platform: { os: 'linux', architecture: other }, config: { Cmd: ['true'] } }),
    ];
    const index = indexOf([
      { image: foreign, platform: { os: 'linux', architecture: other } },
      { image: own, platform: HOST },
    ]);
    await pulled(index, 'many');
    await box.ok(['pull', '-q', '--platform', `linux/${other}`, 'many']);
    expect((await table('many')).slice(1).length).toBe(2);
    const { digest } = index.target.descriptor;
    await box.ok(['rmi', shortId(idOf(foreign))]);
    expect(await box.ok(['run', '--rm', '--network', 'none', 'many'])).toBe('own');
    await box.ok(['rmi', `many@${digest}`]);
    expect(await box.ok(['images', '-q', 'many:latest'])).toBe(shortId(idOf(own)));
    const lines = (await box.ok(['rmi', 'many'])).split('\n');
    expect(lines).toContain('Untagged: many:latest');
    expect(lines).toContain(`Deleted: ${idOf(own)}`);
  });

  it('collects what an image of a kind that nobody knows leaves', async () => {
    const artifact = documentOf({ schemaVersion: 2, config: {}, layers: [] }, 'application/x-nothing');
    publishTo(registry, 'library/nothing', 'latest', { target: artifact, blobs: new Map() });
    failureLine(await box.run(['pull', 'nothing']), 1);
    expect(await box.ok(['images', '-a', '-q'])).toBe('');
  });
});
