import { existsSync, mkdtempSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect } from 'vitest';
import { busyboxEntries, HOST_ARCHITECTURE, imageOf, layerOf } from '../harness/images.ts';
import { needing } from '../harness/requires.ts';
import { type Seeded, seededSandbox } from '../harness/seed.ts';

const it = needing('root', 'overlay', 'nft', 'docker-registry', 'busybox-static');

let box: Seeded;
const run = (...args: string[]) => box.ok(['run', '--rm', '--network', 'none', ...args]);
const names = async () => (await box.ok(['volume', 'ls', '-q'])).split('\n').filter(Boolean);
const dataOf = async (name: string) => box.ok(['volume', 'inspect', '-f', '{{.Mountpoint}}', name]);

beforeAll(async () => {
  box = await seededSandbox();
  // An image with declared volumes: one behind a link, one that tries to leave the image.
  const layer = await layerOf([
    ...busyboxEntries(),
    { name: 'srv/data', type: 'directory', mode: 0o1771, uid: 12, gid: 34 },
    { name: 'srv/data/deep', type: 'directory' },
    { name: 'srv/data/deep/file', content: 'from the image' },
    { name: 'real/inner', type: 'directory' },
    { name: 'real/inner/linked', content: 'behind a link' },
    { name: 'link', type: 'symlink', linkname: '/real' },
    { name: 'outside', type: 'symlink', linkname: '../../../../../../etc' },
  ]);
  const Volumes = { '/srv/data': {}, '/link/inner': {}, '/../../../etc/canary': {}, '/outside': {} };
  const image = imageOf({
    layers: [layer],
    platform: { os: 'linux', architecture: HOST_ARCHITECTURE },
    config: { Cmd: ['sh'], Volumes },
  });
  await box.publish(image, 'voluminous');
  await box.ok(['pull', '-q', 'voluminous']);
});
afterEach(async () => {
  const ids = await box.ok(['ps', '-aq']);
  if (ids !== '') await box.ok(['rm', '-f', '-v', ...ids.split('\n')]);
  const left = await names();
  if (left.length > 0) await box.ok(['volume', 'rm', ...left]);
});
afterAll(() => box.dispose());

describe('a named volume', () => {
  it('outlives its containers and is shared', async () => {
    await run('-v', 'data:/data', 'busybox', 'sh', '-c', 'echo kept >/data/file');
    expect(await run('-v', 'data:/other:ro', 'busybox', 'cat', '/other/file')).toBe('kept');
    const readonly = await box.run([
      'run',
      '--rm',
      '--network',
      'none',
      '-v',
      'data:/d:ro',
      'busybox',
      'touch',
      '/d/x',
    ]);
    expect(readonly.stderr).toContain('Read-only file system');
    expect(await names()).toEqual(['data']);
    expect(readFileSync(join(await dataOf('data'), 'file'), 'utf8')).toBe('kept\n');
  });

  it('is filled once with what the image has there, owner and mode and all', async () => {
    const show = ['voluminous', 'sh', '-c', 'stat -c "%a %u %g" /srv/data; cat /srv/data/deep/file'];
    expect(await run('-v', 'fresh:/srv/data', ...show)).toBe('1771 12 34\nfrom the image');
    await run('-v', 'fresh:/srv/data', 'voluminous', 'touch', '/srv/data/mine');
    await run('-v', 'fresh:/srv/data', 'voluminous', 'rm', '-r', '/srv/data/deep');
    expect(await run('-v', 'fresh:/srv/data', 'voluminous', 'ls', '/srv/data')).toBe('mine');
    expect(await run('-v', 'empty:/srv/data:nocopy', 'voluminous', 'ls', '/srv/data')).toBe('');
  });

  it('cannot be removed while a container has it, even a stopped one', async () => {
    await box.ok(['create', '--name', 'holder', '-v', 'held:/data', 'busybox']);
    const refused = await box.run(['volume', 'rm', 'held']);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toMatch(/remove held: volume is in use - \[[0-9a-f]{64}\]/);
    await box.ok(['rm', '-v', 'holder']);
    expect(await names()).toEqual(['held']);
    expect(await box.ok(['volume', 'rm', 'held'])).toBe('held');
    const gone = await box.run(['volume', 'rm', 'held']);
    expect(gone.stderr).toContain('get held: no such volume');
  });

  it('may be a directory of the host by the options of the local driver', async () => {
    const directory = mkdtempSync(join(box.directory, 'host-'));
    await box.ok([
      'volume',
      'create',
      '-o',
      'type=none',
      '-o',
      'o=bind',
      '-o',
      `device=${directory}`,
      'bound',
    ]);
    await run('-v', 'bound:/data', 'busybox', 'touch', '/data/here');
    expect(readdirSync(directory)).toEqual(['here']);
    const nfs = await box.run(['volume', 'create', '-o', 'type=nfs', '-o', 'device=:/x', 'remote']);
    expect(nfs.stderr).toContain('volumes of type "nfs" are not supported');
  });
});

describe('anonymous volumes', () => {
  it('of an image are made and filled for each container; links stay in the image', async () => {
    await box.ok(['run', '-d', '--name', 'web', '--network', 'none', 'voluminous', 'sleep', '100']);
    const mounts = JSON.parse(await box.ok(['inspect', '-f', '{{json .Mounts}}', 'web'])) as {
      Type: string;
      Destination: string;
      Name: string;
    }[];
    expect(mounts.map(({ Type, Destination }) => `${Type} ${Destination}`).sort()).toEqual([
      'volume /etc/canary',
      'volume /link/inner',
      'volume /outside',
      'volume /srv/data',
    ]);
    expect(await box.ok(['exec', 'web', 'cat', '/srv/data/deep/file'])).toBe('from the image');
    expect(await box.ok(['exec', 'web', 'cat', '/link/inner/linked'])).toBe('behind a link');
    const canary = mounts.find(({ Destination }) => Destination === '/etc/canary')?.Name ?? '';
    expect(readdirSync(await dataOf(canary))).toEqual([]);
    // The image's /etc, by way of the link, not the host's.
    const outside = mounts.find(({ Destination }) => Destination === '/outside')?.Name ?? '';
    expect(readdirSync(await dataOf(outside))).toContain('group');
    expect(readdirSync(await dataOf(outside))).not.toContain('apt');
    await box.ok(['rm', '-f', 'web']);
    expect(await names()).toHaveLength(4);
    expect(await box.ok(['volume', 'prune', '-f'])).toMatch(
      /^Deleted Volumes:\n([0-9a-f]{64}\n){4}\nTotal reclaimed space: /,
    );
    expect(await names()).toEqual([]);
  });

  it('go with --rm and with rm -v, other volumes stay', async () => {
    await run('-v', '/scratch', '-v', 'named:/data', 'busybox', 'touch', '/scratch/x');
    expect(await names()).toEqual(['named']);
    await box.ok(['create', '--name', 'one', '-v', '/scratch', 'busybox']);
    expect(await names()).toHaveLength(2);
    await box.ok(['rm', '-v', 'one']);
    expect(await names()).toEqual(['named']);
  });

  it('are nobody’s after a create that failed', async () => {
    await box.ok(['create', '--name', 'taken', 'busybox']);
    const clash = await box.run(['create', '--name', 'taken', '-v', '/scratch', 'busybox']);
    expect(clash.code).toBe(125);
    expect(await names()).toEqual([]);
  });
});

describe('--volumes-from', () => {
  it('mounts what another container has, read-only if asked', async () => {
    await box.ok([
      'create',
      '--name',
      'source',
      '-v',
      'shared:/data',
      '-v',
      `${box.directory}:/host`,
      'busybox',
    ]);
    await run('--volumes-from', 'source', 'busybox', 'touch', '/data/one', '/host/two');
    expect(readdirSync(await dataOf('shared'))).toEqual(['one']);
    expect(existsSync(join(box.directory, 'two'))).toBe(true);
    const refused = await box.run([
      'run',
      '--rm',
      '--network',
      'none',
      '--volumes-from',
      'source:ro',
      'busybox',
      'touch',
      '/data/x',
    ]);
    expect(refused.stderr).toContain('Read-only file system');
  });
});

describe('volume export and import', () => {
  it('carry the content from one to another, links as links (CVE-2023-0778)', async () => {
    await run(
      '-v',
      'old:/data',
      'busybox',
      'sh',
      '-c',
      'cd /data; chmod 1750 .; echo kept >file; chown 7:8 file; ln -s /etc/passwd out; ln file hard',
    );
    const tar = join(box.directory, 'volume.tar');
    await box.ok(['volume', 'export', '-o', tar, 'old']);
    await box.ok(['volume', 'create', 'new']);
    await box.ok(['volume', 'import', 'new', tar]);
    const show = ['busybox', 'sh', '-c', 'cd /data; stat -c "%a %u %g %h" . file; cat file; readlink out'];
    expect(await run('-v', 'new:/data', ...show)).toBe('1750 0 0 2\n644 7 8 2\nkept\n/etc/passwd');
    expect(readFileSync(tar).includes('root:')).toBe(false);
    const again = await box.run(['volume', 'import', 'new', tar]);
    expect(again.stderr).toContain('import new: the volume is not empty');
    await box.ok(['volume', 'create', 'bad']);
    const wrong = await box.run(['volume', 'import', 'bad', '-'], { input: 'no tar'.repeat(500) });
    expect(wrong.code).toBe(1);
    expect(readdirSync(await dataOf('bad'))).toEqual([]);
  });
});

describe('volume ls', () => {
  it('filters and formats as Docker', async () => {
    await box.ok(['volume', 'create', '--label', 'tier=db', 'alpha']);
    await box.ok(['create', '-v', 'beta:/b', 'busybox']);
    expect(await box.ok(['volume', 'ls'])).toBe('DRIVER    VOLUME NAME\nlocal     alpha\nlocal     beta');
    expect(await box.ok(['volume', 'ls', '-q', '-f', 'dangling=true'])).toBe('alpha');
    expect(await box.ok(['volume', 'ls', '-q', '-f', 'label=tier=db'])).toBe('alpha');
    expect(await box.ok(['volume', 'ls', '--format', '{{.Name}} {{.Labels}}', '-f', 'name=alp'])).toBe(
      'alpha tier=db',
    );
    expect(await box.ok(['ps', '-aq', '--filter', 'volume=beta'])).toHaveLength(12);
  });
});
