import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { hexOf } from '../../src/oci/digest.ts';
import { describeTree } from '../fixtures/trees.ts';
import {
  type BuiltImage,
  type BuiltLayer,
  busyboxEntries,
  HOST_ARCHITECTURE,
  imageOf,
  indexOf,
  type LayerEntry,
  layerOf,
  tarOf,
} from '../harness/images.ts';
import { failureLine, leftovers, treeOfImage } from '../harness/pulling.ts';
import { needing } from '../harness/requires.ts';
import { makeSandbox, type Sandbox, show } from '../harness/sandbox.ts';
import { type Seeded, seededSandbox } from '../harness/seed.ts';

const it = needing('root', 'overlay', 'docker-registry', 'busybox-static', 'skopeo', 'zstd');
const HOST = { os: 'linux', architecture: HOST_ARCHITECTURE };

let box: Seeded;
/** Where the archives go: it has seen no registry. */
let far: Sandbox;
let base: BuiltLayer;
beforeAll(async () => {
  box = await seededSandbox();
  far = makeSandbox();
  base = await layerOf(busyboxEntries());
});
afterAll(async () => {
  const left = [...(await leftovers(box.root)), ...(await leftovers(far.root))];
  await far.dispose();
  await box.dispose();
  expect(left).toEqual([]);
});

const file = (name: string) => join(box.directory, name);
const json = (value: unknown) => JSON.stringify(value);
const clear = () => far.run(['image', 'prune', '-a', '-f']);
const loadBytes = (input: Uint8Array) => far.run(['load'], { input });

async function published(name: string, tag = 'latest'): Promise<BuiltImage> {
  const own = await layerOf([{ name: 'own', content: name }]);
  const image = imageOf({ layers: [base, own], platform: HOST, config: { Cmd: ['cat', '/own'] } });
  await box.publish(image, name, tag);
  await box.ok(['pull', '-q', `${name}:${tag}`]);
  return image;
}

/** Without the root, of which the tar says nothing. */
async function filesOf(sandbox: Sandbox, name: string): Promise<Map<string, string>> {
  const tree = await treeOfImage(sandbox, name);
  tree.delete('.');
  return tree;
}

/** As `docker save` wrote it for ten years: directories with `layer.tar`, a link where a layer stands twice. */
async function oldArchive(
  layers: readonly Buffer[],
  change: (entries: LayerEntry[]) => LayerEntry[] = (all) => all,
) {
  const built = await Promise.all(layers.map((tar) => layerOf(tar, 'none')));
  const config = json({
    architecture: HOST_ARCHITECTURE,
    os: 'linux',
    config: { Cmd: ['cat', '/own'] },
    rootfs: { type: 'layers', diff_ids: built.map(({ diffId }) => diffId) },
  });
  const names = built.map((_, at) => `${String(at).repeat(64)}/layer.tar`);
  const entries: LayerEntry[] = built.flatMap(({ bytes, diffId }, at): LayerEntry[] => {
    const first = built.findIndex((one) => one.diffId === diffId);
    const name = names[at] ?? '';
    return [
      { name: name.replace('layer.tar', ''), type: 'directory' },
      first < at ? { name, type: 'symlink', linkname: `../${names[first]}` } : { name, content: bytes },
    ];
  });
  entries.push({ name: 'config.json', content: config });
  entries.push({
    name: 'manifest.json',
    content: json([{ Config: 'config.json', RepoTags: ['old:1'], Layers: names }]),
  });
  return tarOf(change(entries));
}

describe('save', () => {
  it('writes what skopeo reads as a docker archive and as a layout, the same every time', async () => {
    const image = await published('saved');
    await box.ok(['save', '-o', file('saved.tar'), 'saved']);
    const again = execFileSync(box.binary, ['save', 'saved'], { env: box.env, maxBuffer: 1 << 28 });
    expect(again.equals(readFileSync(file('saved.tar')))).toBe(true);
    const docker = await box.host(['skopeo', 'inspect', `docker-archive:${file('saved.tar')}`]);
    expect(docker.code, show(docker)).toBe(0);
    expect(JSON.parse(docker.stdout)).toMatchObject({ Architecture: HOST_ARCHITECTURE });
    const layout = await box.host(['skopeo', 'inspect', '--raw', `oci-archive:${file('saved.tar')}:latest`]);
    expect(layout.stdout, show(layout)).toBe(image.target.bytes.toString());
    expect(readdirSync(box.directory).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });

  it('goes to another store whole: names, digests, files', async () => {
    const image = await published('moved');
    await box.ok(['tag', 'moved', 'localhost:5000/also:v2']);
    await box.ok(['save', '-o', file('moved.tar'), 'moved', 'localhost:5000/also:v2', 'busybox']);
    expect(await far.ok(['load', '-i', file('moved.tar')])).toBe(
      'Loaded image: moved:latest\nLoaded image: localhost:5000/also:v2\nLoaded image: busybox:latest',
    );
    expect(await far.ok(['run', '--rm', '--network', 'none', '--pull', 'never', 'moved'])).toBe('moved');
    expect(await filesOf(far, 'busybox')).toEqual(await filesOf(box, 'busybox'));
    expect(await far.ok(['inspect', '-f', '{{.Descriptor.digest}} {{.RepoDigests}}', 'moved'])).toBe(
      `${image.target.descriptor.digest} []`,
    );
    expect(await far.ok(['load', '-i', file('moved.tar')])).toContain('Loaded image: moved:latest');
    await clear();
  });

  it('takes every tag of a repository, and an id without a name', async () => {
    await published('tags', 'a');
    await box.ok(['tag', 'tags:a', 'tags:b']);
    await box.ok(['save', '-o', file('tags.tar'), 'tags']);
    expect(await far.ok(['load', '-q', '-i', file('tags.tar')])).toBe(
      'Loaded image: tags:a\nLoaded image: tags:b',
    );
    await clear();
    const id = await box.ok(['images', '-q', '--no-trunc', 'tags:a']);
    await box.ok(['save', '-o', file('id.tar'), id]);
    expect(await far.ok(['load', '-i', file('id.tar')])).toBe(`Loaded image ID: ${id}`);
    expect(await far.ok(['images', '-a', '--format', '{{.Repository}}'])).toBe('<none>');
    await clear();
    const missing = await box.run(['save', '-o', file('none.tar'), 'nosuch']);
    expect(missing.stderr).toBe('tinyrun: No such image: nosuch\n');
  });

  it('carries all platforms where it is told to', async () => {
    const images = await Promise.all(
      [HOST, { os: 'linux', architecture: 's390x' }].map(async (platform) => ({
        platform,
        image: imageOf({
          layers: [await layerOf([{ name: 'arch', content: platform.architecture }])],
          platform,
        }),
      })),
    );
    const index = indexOf(images);
    await box.publish(index, 'many');
    await box.ok(['pull', '-q', 'many']);
    await box.ok(['pull', '-q', '--platform', 'linux/s390x', 'many']);
    await box.ok(['save', '--all-platforms', '-o', file('many.tar'), 'many']);
    expect(await far.ok(['load', '-i', file('many.tar')])).toBe('Loaded image: many:latest');
    expect(await far.ok(['inspect', '-f', '{{.Architecture}} {{.Descriptor.digest}}', 'many'])).toBe(
      `${HOST_ARCHITECTURE} ${index.target.descriptor.digest}`,
    );
    expect((await far.ok(['images', '-q', 'many'])).split('\n')).toHaveLength(2);
    await clear();
    await box.ok(['save', '--platform', 'linux/s390x', '-o', file('one.tar'), 'many']);
    await far.ok(['load', '-i', file('one.tar')]);
    expect(await far.ok(['inspect', '-f', '{{.Architecture}}', 'many'])).toBe('s390x');
    await clear();
  });
});

describe('load', () => {
  it.each(['docker-archive', 'oci-archive'])('reads what skopeo writes as %s', async (transport) => {
    const path = file(`${transport}.tar`);
    const copied = await box.host([
      'skopeo',
      'copy',
      '--insecure-policy',
      '--src-tls-verify=false',
      `docker://${box.registry.address}/library/busybox`,
      `${transport}:${path}:busybox:from-skopeo`,
    ]);
    expect(copied.code, show(copied)).toBe(0);
    expect(await far.ok(['load', '-i', path])).toBe('Loaded image: busybox:from-skopeo');
    expect(await filesOf(far, 'busybox:from-skopeo')).toEqual(await filesOf(box, 'busybox'));
    await far.ok(['run', '--rm', '--network', 'none', 'busybox:from-skopeo', 'true']);
    await clear();
  });

  it('reads the old form with layer.tar and links, compressed or not', async () => {
    const own = await tarOf([{ name: 'own', content: 'old form' }]);
    const tar = await oldArchive([await tarOf(busyboxEntries()), own, own]);
    const zstd = execFileSync('zstd', ['-qc'], { input: tar, maxBuffer: 1 << 28 });
    for (const bytes of [tar, gzipSync(tar), zstd]) {
      const outcome = await loadBytes(bytes);
      expect(show(outcome)).toBe(show({ code: 0, stdout: 'Loaded image: old:1\n', stderr: '' }));
      expect(await far.ok(['run', '--rm', '--network', 'none', 'old:1'])).toBe('old form');
      await clear();
    }
  });

  it('refuses what is damaged or a lie, in one line, and keeps nothing', async () => {
    const own = await tarOf([{ name: 'own', content: 'x' }]);
    const image = await published('honest');
    const blobs = [...image.blobs].map(([digest, bytes]) => ({
      name: `blobs/sha256/${hexOf(digest)}`,
      content: bytes,
    }));
    const index = { schemaVersion: 2, manifests: [{ ...image.target.descriptor }] };
    const layout = (entries: readonly LayerEntry[]) =>
      tarOf([
        { name: 'oci-layout', content: '{"imageLayoutVersion":"1.0.0"}' },
        { name: 'index.json', content: json(index) },
        ...entries,
      ]);
    const without = (name: string) => (all: LayerEntry[]) => all.filter((one) => !one.name.endsWith(name));
    const replaced = (name: string, content: string) => (all: LayerEntry[]) =>
      all.map((one) => (one.name === name ? { ...one, content } : one));
    const whole = await oldArchive([own]);
    const cases: [string, Uint8Array, RegExp][] = [
      ['nothing', Buffer.alloc(0), /it is empty or no tar archive/],
      ['no tar', Buffer.from('x'.repeat(5000)), /no tar archive|damaged/],
      ['cut short', whole.subarray(0, whole.length - 2500), /damaged|neither/],
      ['damaged gzip', gzipSync(whole).fill(7, 60), /its gzip data is damaged/],
      [
        'damaged zstd',
        Buffer.concat([Buffer.from([0x28, 0xb5, 0x2f, 0xfd]), Buffer.alloc(99, 7)]),
        /zstd data is damaged/,
      ],
      ['xz', Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0, 0, 0, 0]), /compressed with xz/],
      ['no index', await tarOf([{ name: 'x', content: 'y' }]), /neither "index.json" nor "manifest.json"/],
      [
        'a blob that lies',
        await layout(blobs.map((one, at) => (at === 2 ? { ...one, content: 'lie' } : one))),
        /has the digest/,
      ],
      ['a blob that is not there', await layout(blobs.slice(0, 2)), /is not in it/],
      ['no layer', await oldArchive([own], without('layer.tar')), /it has no member "0+\/layer.tar"/],
      [
        'a layer that lies',
        await oldArchive([own], replaced(`${'0'.repeat(64)}/layer.tar`, 'x'.repeat(1024))),
        /Cannot unpack layer/,
      ],
      ['no JSON', await oldArchive([own], replaced('manifest.json', '[{')), /is not valid JSON/],
      ['wrong types', await oldArchive([own], replaced('manifest.json', '[{"Layers":{}}]')), /Layers/],
      ['null', await oldArchive([own], replaced('manifest.json', '[null]')), /an object/],
      [
        'endless JSON',
        await oldArchive([own], replaced('manifest.json', ' '.repeat(5 << 20))),
        /expected 4194304 at most/,
      ],
      [
        'a way out',
        await oldArchive(
          [own],
          replaced('manifest.json', json([{ Config: '../../../../etc/passwd', Layers: [] }])),
        ),
        /no member/,
      ],
      [
        'a long header',
        await tarOf([{ name: 'x', pax: { comment: 'x'.repeat(2 << 20) } }]),
        /a header of \d+ bytes/,
      ],
    ];
    for (const [what, bytes, text] of cases) {
      const outcome = await loadBytes(bytes);
      expect(failureLine(outcome, 1), what).toMatch(text);
    }
    expect(await far.ok(['images', '-a', '-q'])).toBe('');
    expect(await leftovers(far.root)).toEqual([]);
    await clear();
  });

  it('never writes to where a member’s name leads', async () => {
    const own = await tarOf([{ name: 'own', content: 'safe' }]);
    const before = await describeTree(far.directory);
    const outcome = await loadBytes(
      await oldArchive([own], (all) => [
        { name: '../../escaped', content: 'x' },
        { name: '/tmp/tinyrun-escaped', content: 'x' },
        { name: 'link', type: 'symlink', linkname: far.directory },
        { name: 'link/escaped', content: 'x' },
        ...all,
      ]),
    );
    expect(outcome.stdout, show(outcome)).toBe('Loaded image: old:1\n');
    await far.ok(['rmi', 'old:1']);
    const names = (tree: Map<string, string>) => [...tree.keys()].filter((name) => name.includes('escaped'));
    expect(names(await describeTree(far.directory))).toEqual(names(before));
    expect(readdirSync('/tmp')).not.toContain('tinyrun-escaped');
  });

  it('says what is wrong with the file', async () => {
    const missing = await far.run(['load', '-i', '/nowhere.tar']);
    expect(failureLine(missing, 1)).toBe('open /nowhere.tar: no such file or directory');
    writeFileSync(file('plain'), 'x');
    expect(failureLine(await far.run(['load', '-i', far.directory]), 1)).toContain('is a directory');
    const full = await box.run(['save', '-o', '/dev/full', 'busybox']);
    expect(failureLine(full, 1)).toContain('/dev/full');
  });
});
