import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { shortId } from '../../src/oci/digest.ts';
import { MEDIA_TYPE } from '../../src/oci/image-spec.ts';
import { describeTree } from '../fixtures/trees.ts';
import {
  type BuiltImage,
  type BuiltLayer,
  busyboxEntries,
  digestOf,
  documentOf,
  HOST_ARCHITECTURE,
  imageOf,
  indexOf,
  type LayerEntry,
  layerOf,
  tarOf,
  writeLayout,
} from '../harness/images.ts';
import { failureLine, leftovers, treeOfImage, zstdLayer } from '../harness/pulling.ts';
import { needing } from '../harness/requires.ts';
import { show } from '../harness/sandbox.ts';
import { type Seeded, seededSandbox } from '../harness/seed.ts';

const it = needing('root', 'overlay', 'docker-registry', 'busybox-static', 'skopeo', 'umoci', 'zstd');

let box: Seeded;
let base: BuiltLayer;
beforeAll(async () => {
  box = await seededSandbox();
  base = await layerOf(busyboxEntries());
});
afterAll(async () => {
  const left = await leftovers(box.root);
  await box.dispose();
  expect(left).toEqual([]);
});

const BUSYBOX = '/bin/busybox';
const HOST = { os: 'linux', architecture: HOST_ARCHITECTURE };

/** One small layer on the busybox layer, so that the image can run. */
async function imageWith(name: string, content = name): Promise<BuiltImage> {
  return imageOf({
    layers: [base, await layerOf([{ name, content }])],
    platform: HOST,
    config: { Cmd: ['cat', `/${name}`] },
  });
}

const runs = (name: string, ...command: string[]) =>
  box.ok(['run', '--rm', '--network', 'none', '--pull', 'never', name, ...command]);

/** The lines of a pull without those of layers, and those sorted: their order is that of the network. */
function parts(stdout: string): { lines: string[]; layers: string[] } {
  const lines = stdout.trimEnd().split('\n');
  const isLayer = (line: string): boolean => /^[0-9a-f]{12}: /.test(line);
  return { lines: lines.filter((line) => !isLayer(line)), layers: lines.filter(isLayer).sort() };
}

describe('pull: output', () => {
  it('is Docker’s, line for line', async () => {
    const image = await imageWith('first');
    await box.publish(image, 'first');
    const { digest } = image.target.descriptor;
    const top = shortId([...image.blobs.keys()].at(-1) ?? digest);
    const outcome = await box.run(['pull', 'first']);
    expect(outcome.stderr).toBe('');
    expect(outcome.stdout.split('\n').slice(0, 4)).toEqual([
      'Using default tag: latest',
      'latest: Pulling from library/first',
      `${shortId(base.descriptor.digest)}: Already exists`,
      `${top}: Pulling fs layer`,
    ]);
    expect(parts(outcome.stdout)).toEqual({
      lines: [
        'Using default tag: latest',
        'latest: Pulling from library/first',
        `Digest: ${digest}`,
        'Status: Downloaded newer image for first:latest',
        'docker.io/library/first:latest',
      ],
      layers: [
        `${shortId(base.descriptor.digest)}: Already exists`,
        ...['Download complete', 'Pull complete', 'Pulling fs layer'].map((text) => `${top}: ${text}`),
      ].sort(),
    });
    const again = await box.run(['pull', 'first']);
    expect(show(again)).toBe(
      show({
        code: 0,
        stdout: `Using default tag: latest\nlatest: Pulling from library/first\nDigest: ${digest}\nStatus: Image is up to date for first:latest\ndocker.io/library/first:latest\n`,
        stderr: '',
      }),
    );
  });

  it('is the reference alone with -q', async () => {
    await box.publish(await imageWith('quiet'), 'quiet');
    const outcome = await box.run(['pull', '-q', 'quiet']);
    expect(outcome).toEqual({ code: 0, stdout: 'docker.io/library/quiet:latest\n', stderr: '' });
  });

  it('names the tag, the digest and the other registry', async () => {
    const image = await imageWith('named');
    await box.publish(image, 'named', 'v1');
    const { digest } = image.target.descriptor;
    const { address } = box.registry;
    const byTag = parts(await box.ok(['pull', 'named:v1']));
    expect(byTag.lines).toEqual([
      'v1: Pulling from library/named',
      `Digest: ${digest}`,
      'Status: Downloaded newer image for named:v1',
      'docker.io/library/named:v1',
    ]);
    // A name of its own: Docker calls that new, though nothing is downloaded.
    const byDigest = parts(await box.ok(['pull', `named@${digest}`]));
    expect(byDigest.lines).toEqual([
      `docker.io/library/named@${digest}: Pulling from library/named`,
      `Digest: ${digest}`,
      `Status: Downloaded newer image for named@${digest}`,
      `docker.io/library/named@${digest}`,
    ]);
    expect(byDigest.layers).toEqual([]);
    const both = parts(await box.ok(['pull', `named:v1@${digest}`]));
    expect(both.lines[0]).toBe('v1: Pulling from library/named');
    expect(both.lines.at(-1)).toBe(`docker.io/library/named:v1@${digest}`);
    const elsewhere = parts(await box.ok(['pull', `${address}/library/named:v1`]));
    expect(elsewhere.lines).toEqual([
      'v1: Pulling from library/named',
      `Digest: ${digest}`,
      `Status: Downloaded newer image for ${address}/library/named:v1`,
      `${address}/library/named:v1`,
    ]);
    expect(await runs(`${address}/library/named:v1`)).toBe('named');
    expect(await runs(`named@${digest}`)).toBe('named');
  });

  it('names a tag that moved a newer image, and lists layers of a new image that are all there', async () => {
    await box.publish(await imageWith('moving', 'one'), 'moving');
    await box.ok(['pull', 'moving']);
    const newer = await imageWith('moving', 'two');
    await box.publish(newer, 'moving');
    expect(await box.ok(['pull', 'moving'])).toContain('Status: Downloaded newer image for moving:latest');
    expect(await runs('moving')).toBe('two');
    const relabelled = imageOf({ layers: [base], platform: HOST, config: { Labels: { a: 'b' } } });
    await box.publish(relabelled, 'relabelled');
    const { layers } = parts(await box.ok(['pull', 'relabelled']));
    expect(layers).toEqual([`${shortId(base.descriptor.digest)}: Already exists`]);
  });

  it('of run goes to stderr, as Docker’s', async () => {
    const image = await imageWith('implicit');
    await box.publish(image, 'implicit');
    const { digest } = image.target.descriptor;
    const outcome = await box.run(['run', '--rm', '--network', 'none', 'implicit']);
    expect(outcome.stdout, show(outcome)).toBe('implicit');
    expect(parts(outcome.stderr).lines).toEqual([
      "Unable to find image 'implicit:latest' locally",
      'latest: Pulling from library/implicit',
      `Digest: ${digest}`,
      'Status: Downloaded newer image for implicit:latest',
    ]);
    expect(parts(outcome.stderr).layers).toContain(`${shortId(base.descriptor.digest)}: Already exists`);
    const again = await box.run(['run', '--rm', '--network', 'none', 'implicit']);
    expect(again).toEqual({ code: 0, stdout: 'implicit', stderr: '' });
    const always = await box.run(['run', '--rm', '--network', 'none', '--pull', 'always', 'implicit']);
    expect(always).toEqual({
      code: 0,
      stdout: 'implicit',
      stderr: `latest: Pulling from library/implicit\nDigest: ${digest}\nStatus: Image is up to date for implicit:latest\n`,
    });
    await box.ok(['rmi', 'implicit']);
    const quiet = await box.run(['run', '-q', '--rm', '--network', 'none', 'implicit']);
    expect(quiet).toEqual({ code: 0, stdout: 'implicit', stderr: '' });
  });

  it('on a terminal ends with every layer’s last state, and draws nothing for what is up to date', async () => {
    const image = await imageWith('drawn');
    await box.publish(image, 'drawn');
    const onTerminal = async (): Promise<string> => {
      const command = `stty cols 100; ${box.binary} pull drawn`;
      const outcome = await box.host(['script', '-qec', command, '/dev/null']);
      expect(outcome.code, show(outcome)).toBe(0);
      return outcome.stdout.replaceAll('\r', '');
    };
    const first = await onTerminal();
    const last = first.slice(first.lastIndexOf('Total'));
    expect(last).toMatch(/[0-9a-f]{12}: Pull complete$/m);
    expect(last).toContain(`Digest: ${image.target.descriptor.digest}\nStatus: Downloaded newer image`);
    expect(await onTerminal()).not.toMatch(/Total|\x1b|Waiting/);
  });

  it.each([
    ['nosuch', 'repository nosuch not found'],
    ['busybox:nosuch', 'manifest for busybox:nosuch not found'],
  ])('says that %s is not there', async (name, text) => {
    const outcome = await box.run(['pull', '-q', name]);
    expect(outcome.stdout).toBe('');
    expect(failureLine(outcome, 1)).toContain(text);
    const run = await box.run(['run', '--rm', '-q', name, 'true']);
    expect(failureLine(run, 125)).toContain(text);
  });

  it.each([
    ['', 'invalid reference format'],
    ['Upper/Case', 'invalid reference format'],
    ['a b', 'invalid reference format'],
    ['x:', 'invalid reference format'],
    ['x@sha256:12', 'invalid reference format'],
    ['BusyBox', 'repository name (library/BusyBox) must be lowercase'],
    ['../../etc/passwd', 'invalid reference format'],
    ['a'.repeat(64).replace(/a/g, 'f'), 'cannot specify 64-byte hexadecimal strings'],
  ])('refuses the reference %j', async (name, text) => {
    expect(failureLine(await box.run(['pull', name]), 1)).toContain(text);
  });
});

describe('pull: platforms', () => {
  const forPlatform = async (architecture: string, variant?: string): Promise<BuiltImage> =>
    imageOf({
      layers: [base, await layerOf([{ name: 'arch', content: architecture + (variant ?? '') }])],
      platform: { os: 'linux', architecture, ...(variant === undefined ? {} : { variant }) },
      config: { Cmd: ['cat', '/arch'] },
    });
  const attestation = (of: BuiltImage): BuiltImage => {
    const layer = documentOf({ _type: 'https://in-toto.io/Statement/v0.1' }, 'application/vnd.in-toto+json');
    const config = documentOf(
      { architecture: 'unknown', os: 'unknown', config: {}, rootfs: { type: 'layers', diff_ids: [] } },
      MEDIA_TYPE.ociConfig,
    );
    const target = documentOf(
      {
        schemaVersion: 2,
        mediaType: MEDIA_TYPE.ociManifest,
        config: config.descriptor,
        layers: [layer.descriptor],
        annotations: { 'vnd.docker.reference.digest': of.target.descriptor.digest },
      },
      MEDIA_TYPE.ociManifest,
    );
    const documents = [target, config, layer];
    return { target, blobs: new Map(documents.map((one) => [one.descriptor.digest, one.bytes])) };
  };

  it('takes the host’s from an index, another with --platform, and says what there is', async () => {
    const [amd, arm] = [await forPlatform('amd64'), await forPlatform('arm64', 'v8')];
    const unknown = { os: 'unknown', architecture: 'unknown' };
    const index = indexOf([
      { image: attestation(amd), platform: unknown },
      { image: arm, platform: { os: 'linux', architecture: 'arm64', variant: 'v8' } },
      { image: amd, platform: { os: 'linux', architecture: 'amd64' } },
      { image: attestation(arm), platform: unknown },
    ]);
    await box.publish(index, 'multi');
    const { digest } = index.target.descriptor;
    const own = HOST_ARCHITECTURE;
    const other = own === 'amd64' ? 'arm64' : 'amd64';
    expect(await box.ok(['pull', 'multi'])).toContain(`\nDigest: ${digest}\n`);
    expect(await runs('multi')).toMatch(own);
    expect(await box.ok(['images', 'multi', '--format', '{{.Platform}}'])).toMatch(own);
    expect(await box.ok(['pull', '--platform', `linux/${other}`, 'multi'])).toContain(
      `\nDigest: ${digest}\n`,
    );
    expect(await runs('multi')).toMatch(own);
    expect(await runs(`--platform=linux/${other}`, 'multi')).toMatch(other);
    const outcome = await box.run(['pull', '-q', '--platform', 'linux/riscv64', 'multi']);
    expect(failureLine(outcome, 1)).toContain(
      'no matching manifest for linux/riscv64 in the manifest list entries',
    );
    expect(outcome.stderr).toContain('It has linux/arm64/v8, linux/amd64');
    const run = await box.run(['run', '--rm', '--platform', 'windows/amd64', 'multi']);
    expect(run.code).toBe(125);
    expect(run.stderr).toContain('no matching manifest for windows/amd64 in the manifest list entries');
    const nonsense = await box.run(['pull', '--platform', 'a/b/c/d', 'multi']);
    expect(failureLine(nonsense, 1)).toContain('cannot parse platform specifier');
  });

  it('compares the platform of an image without an index', async () => {
    await box.publish(await imageWith('single'), 'single');
    const outcome = await box.run(['pull', '--platform', 'linux/s390x', 'single']);
    expect(failureLine(outcome, 1)).toBe(
      `image with reference single:latest was found but its platform (linux/${HOST_ARCHITECTURE}) does not match the specified platform (linux/s390x)`,
    );
  });

  it('takes an index in Docker’s format with manifests of both formats', async () => {
    const docker = imageOf({
      layers: [base],
      platform: HOST,
      flavour: 'docker',
      config: { Cmd: ['echo', 'list'] },
    });
    const list = documentOf(
      {
        schemaVersion: 2,
        mediaType: MEDIA_TYPE.dockerManifestList,
        manifests: [{ ...docker.target.descriptor, platform: HOST }],
      },
      MEDIA_TYPE.dockerManifestList,
    );
    await box.publish(
      { target: list, blobs: new Map([...docker.blobs, [list.descriptor.digest, list.bytes]]) },
      'list',
    );
    await box.ok(['pull', 'list']);
    expect(await runs('list')).toBe('list');
  });
});

describe('pull: layers', () => {
  it('gzip, zstd and plain, OCI and Docker', async () => {
    const entries = (name: string): LayerEntry[] => [
      { name: `from-${name}`, content: `${name} `.repeat(100_000) },
    ];
    const layers = [
      base,
      await layerOf(entries('gzip')),
      await zstdLayer(entries('zstd')),
      await layerOf(entries('plain'), 'none'),
    ];
    await box.publish(imageOf({ layers, platform: HOST }), 'mixed');
    await box.ok(['pull', 'mixed']);
    expect(await runs('mixed', 'sh', '-c', 'wc -c < from-gzip; wc -c < from-zstd; wc -c < from-plain')).toBe(
      '500000\n500000\n600000',
    );
    await box.publish(imageOf({ layers: layers.slice(0, 2), platform: HOST, flavour: 'docker' }), 'schema2');
    await box.ok(['pull', 'schema2']);
    expect(await runs('schema2', 'ls', '-d', '/from-gzip')).toBe('/from-gzip');
  });

  it('of several gzip members and zstd frames', async () => {
    const tar = await tarOf([{ name: 'pieces', content: 'p'.repeat(300_000) }]);
    const pieces = [tar.subarray(0, 1000), tar.subarray(1000, 200_000), tar.subarray(200_000)];
    const gzip = Buffer.concat(pieces.map((piece) => gzipSync(piece)));
    const zstd = Buffer.concat(
      pieces.map((piece) => execFileSync('zstd', ['-q', '-c', '--no-check'], { input: piece })),
    );
    const as = (bytes: Buffer, mediaType: string): BuiltLayer => ({
      bytes,
      diffId: digestOf(tar),
      descriptor: { mediaType, digest: digestOf(bytes), size: bytes.length },
    });
    await box.publish(
      imageOf({ layers: [base, as(gzip, MEDIA_TYPE.ociLayerGzip)], platform: HOST }),
      'members',
    );
    await box.publish(
      imageOf({ layers: [base, as(zstd, MEDIA_TYPE.ociLayerZstd)], platform: HOST }),
      'frames',
    );
    await box.ok(['pull', 'members']);
    expect(await runs('members', 'wc', '-c', '/pieces')).toBe('300000 /pieces');
    // The same content in another blob: not unpacked again, but kept for the manifest that names it.
    const { layers } = parts(await box.ok(['pull', 'frames']));
    expect(layers).toContain(`${shortId(digestOf(zstd))}: Pull complete`);
    expect(await runs('frames', 'wc', '-c', '/pieces')).toBe('300000 /pieces');
    await box.ok(['rmi', 'members']);
    expect(await runs('frames', 'wc', '-c', '/pieces')).toBe('300000 /pieces');
  });

  it('shared by images go once over the network', async () => {
    const shared = await layerOf([{ name: 'shared', content: 'shared' }]);
    const one = imageOf({ layers: [base, shared, await layerOf([{ name: 'one' }])], platform: HOST });
    const two = imageOf({ layers: [base, shared, await layerOf([{ name: 'two' }])], platform: HOST });
    await box.publish(one, 'one');
    await box.publish(two, 'two');
    await box.ok(['pull', 'one']);
    const { layers } = parts(await box.ok(['pull', 'two']));
    expect(layers.filter((line) => line.includes(shortId(shared.descriptor.digest)))).toEqual([
      `${shortId(shared.descriptor.digest)}: Already exists`,
    ]);
    expect(await runs('two', 'ls', '/shared', '/two')).toBe('/shared\n/two');
  });

  it('that stand twice in one image', async () => {
    const twice = await layerOf([{ name: 'twice', content: 'upper' }]);
    const between = await layerOf([{ name: '.wh.twice' }]);
    await box.publish(imageOf({ layers: [base, twice, between, twice], platform: HOST }), 'twice');
    await box.ok(['pull', 'twice']);
    expect(await runs('twice', 'cat', '/twice')).toBe('upper');
    const empty = await layerOf([]);
    await box.publish(imageOf({ layers: [empty, base, empty, between, empty], platform: HOST }), 'empties');
    await box.ok(['pull', 'empties']);
    expect(await runs('empties', 'ls', '/bin/busybox')).toBe('/bin/busybox');
  });

  it('none, and more than can be stacked', async () => {
    await box.publish(imageOf({ layers: [], platform: HOST }), 'scratch');
    await box.ok(['pull', 'scratch']);
    const outcome = await box.run(['run', '--rm', '--network', 'none', 'scratch', '/nothing']);
    expect(outcome.code, show(outcome)).toBe(127);
    const mount = `${BUSYBOX}:/bin/busybox:ro`;
    const flags = ['--rm', '--network', 'none', '-v', mount, 'scratch', '/bin/busybox', 'ls', '/'];
    expect(await box.ok(['run', ...flags])).toBe('bin\ndev\netc\nproc\nsys');
    const layer = await layerOf([]);
    const layers = Array.from({ length: 501 }, (_, n) => ({ ...layer, diffId: digestOf(`${n}`) }));
    await box.publish(imageOf({ layers, platform: HOST }), 'tower');
    expect(failureLine(await box.run(['pull', '-q', 'tower']), 1)).toBe(
      'Cannot use the image: it has 501 layers, and overlay stacks 500 at most',
    );
  });

  it('sixty of them', async () => {
    const layers = await Promise.all(
      Array.from({ length: 59 }, (_, n) =>
        layerOf([
          { name: `n${n}`, content: String(n) },
          { name: 'top', content: String(n) },
        ]),
      ),
    );
    await box.publish(imageOf({ layers: [base, ...layers], platform: HOST }), 'sixty');
    await box.ok(['pull', 'sixty']);
    expect(await runs('sixty', 'sh', '-c', 'cat /n0 /n58 /top; ls / | grep -c "^n"')).toBe('0585859');
    const outcome = await box.run(['run', '--rm', '--network', 'none', '-u', 'nobody', 'sixty', 'id', '-un']);
    expect(outcome, show(outcome)).toMatchObject({ code: 0, stdout: 'nobody\n' });
  });
});

describe('pull: the store', () => {
  it('is an OCI layout in which skopeo finds every image by its full name', async () => {
    const [one, two] = [await imageWith('skopeo-one'), await imageWith('skopeo-two')];
    const digests = [one, two].map(({ target }) => target.descriptor.digest);
    for (const [name, image] of [['skopeo-one', one] as const, ['skopeo-two', two] as const]) {
      await box.publish(image, name);
      await box.ok(['pull', '-q', name]);
    }
    await box.ok(['pull', '-q', `skopeo-two@${digests[1]}`]);
    const skopeo = async (...args: string[]): Promise<string> => {
      const outcome = await box.host(['skopeo', ...args]);
      expect(outcome.code, show(outcome)).toBe(0);
      return outcome.stdout;
    };
    const found = async (name: string): Promise<string> =>
      (JSON.parse(await skopeo('inspect', `oci:${box.root}:${name}`)) as { Digest: string }).Digest;
    expect(await found('docker.io/library/skopeo-one:latest')).toBe(digests[0]);
    expect(await found('docker.io/library/skopeo-two:latest')).toBe(digests[1]);
    expect(await found(`docker.io/library/skopeo-two@${digests[1]}`)).toBe(digests[1]);
    const copy = mkdtempSync(join(box.directory, 'copy-'));
    await skopeo('copy', '-q', `oci:${box.root}:docker.io/library/skopeo-two:latest`, `oci:${copy}:x`);
  });

  it('holds the files that umoci unpacks', async () => {
    const xattrs = { 'SCHILY.xattr.user.colour': 'blue', 'SCHILY.xattr.user.other': 'x'.repeat(200) };
    const lower = await tarOf([
      { name: './', type: 'directory', mode: 0o755, mtime: 1_000_000_000 },
      { name: 'dir/', type: 'directory', mode: 0o1777, uid: 5, gid: 6, mtime: 1_100_000_000 },
      { name: 'dir/file', content: 'content', mode: 0o640, uid: 1000, gid: 1001, mtime: 1_200_000_000 },
      { name: 'dir/setuid', content: 'x', mode: 0o6755, mtime: 1 },
      { name: 'dir/unreadable', content: 'x', mode: 0o000, mtime: 2 },
      { name: 'far', content: 'x', uid: 70_000, gid: 4_000_000, mtime: 2_100_000_000 },
      { name: 'link', type: 'symlink', linkname: '/dir/../dir/file', uid: 7, gid: 8, mtime: 1_300_000_000 },
      { name: 'dangling', type: 'symlink', linkname: '../../../nowhere', mtime: 3 },
      { name: 'hard', type: 'link', linkname: 'dir/file' },
      { name: 'harder', type: 'link', linkname: 'hard' },
      { name: 'fifo', type: 'fifo', mode: 0o620, mtime: 4 },
      { name: 'null', type: 'character-device', devmajor: 1, devminor: 3, mode: 0o666, mtime: 5 },
      { name: 'loop', type: 'block-device', devmajor: 7, devminor: 300, mode: 0o660, mtime: 6 },
      { name: 'attributes', content: 'x', pax: xattrs, mtime: 7 },
      { name: 'closed/', type: 'directory', mode: 0o000, mtime: 8 },
      { name: 'closed/inside', content: 'x', mtime: 9 },
      ...[1, 2, 3].map((depth): LayerEntry => {
        return { name: `${'d'.repeat(90)}/`.repeat(depth), type: 'directory', mtime: 10 + depth };
      }),
      { name: `${`${'d'.repeat(90)}/`.repeat(3)}name`, content: 'x', mtime: 10 },
      { name: `${'n'.repeat(255)}`, content: 'x', mtime: 11 },
      { name: 'ünïcode ☃', content: 'x', mtime: 12 },
      { name: 'gone', content: 'x', mtime: 13 },
      { name: 'opaque/', type: 'directory', mtime: 14 },
      { name: 'opaque/old', content: 'x', mtime: 15 },
      { name: 'becomes-file/', type: 'directory', mtime: 16 },
      { name: 'becomes-file/x', content: 'x', mtime: 17 },
      { name: 'becomes-directory', content: 'x', mtime: 18 },
    ]);
    const upper = await tarOf([
      { name: './', type: 'directory', mode: 0o755, mtime: 1_000_000_001 },
      { name: '.wh.gone', mtime: 19 },
      { name: 'opaque/', type: 'directory', mode: 0o700, mtime: 20 },
      { name: 'opaque/.wh..wh..opq', mtime: 20 },
      { name: 'opaque/new', content: 'x', mtime: 21 },
      { name: 'becomes-file', content: 'x', mtime: 22 },
      { name: 'becomes-directory/', type: 'directory', mtime: 23 },
      { name: 'becomes-directory/x', content: 'x', mtime: 24 },
      { name: 'dir/', type: 'directory', mode: 0o750, uid: 9, gid: 9, mtime: 25 },
      { name: 'dir/.wh.setuid', mtime: 26 },
      { name: 'again', content: 'one', mtime: 27 },
      { name: 'again-linked', type: 'link', linkname: 'again' },
    ]);
    const image = imageOf({ layers: [await layerOf(lower), await layerOf(upper)], platform: HOST });
    await box.publish(image, 'tree');
    await box.ok(['pull', 'tree']);
    const layout = mkdtempSync(join(box.directory, 'layout-'));
    writeLayout(layout, { tree: image });
    const bundle = join(box.directory, 'bundle');
    const unpacked = await box.host(['umoci', 'unpack', '--image', `${layout}:tree`, bundle]);
    expect(unpacked.code, show(unpacked)).toBe(0);
    const expected = await describeTree(join(bundle, 'rootfs'));
    rmSync(bundle, { recursive: true });
    const found = await treeOfImage(box, 'tree');
    expect(Object.fromEntries(found)).toEqual(Object.fromEntries(expected));
  });

  it('takes up what skopeo copies into it', async () => {
    const source = mkdtempSync(join(box.directory, 'source-'));
    writeLayout(source, { s: await imageWith('copied-in') });
    const copied = await box.host(['skopeo', 'copy', '-q', `oci:${source}:s`, `oci:${box.root}:copied`]);
    expect(copied.code, show(copied)).toBe(0);
    expect((await box.run(['images'])).code).toBe(0);
    expect(await runs('busybox', 'echo', 'still here')).toBe('still here');
  });
});
