import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import {
  type BuiltImage,
  busyboxImage,
  HOST_ARCHITECTURE,
  imageOf,
  indexOf,
  layerOf,
  writeLayout,
} from '../harness/images.ts';
import { type OwnRegistry, startOwnRegistry } from '../harness/own-registry.ts';
import { startRegistry } from '../harness/registry.ts';
import { needing } from '../harness/requires.ts';
import { makeSandbox, type Sandbox, show } from '../harness/sandbox.ts';

const it = needing('root', 'overlay', 'skopeo', 'docker-registry', 'busybox-static');
const OTHER = HOST_ARCHITECTURE === 'amd64' ? 'arm64' : 'amd64';

let box: Sandbox;
let one: OwnRegistry;
let two: OwnRegistry;
let host: BuiltImage;
let index: BuiltImage;
beforeAll(async () => {
  box = makeSandbox();
  [one, two] = await Promise.all([startOwnRegistry(), startOwnRegistry()]);
  host = await busyboxImage();
  const other = imageOf({
    layers: [await layerOf([{ name: 'other', content: 'x'.repeat(100_000) }])],
    platform: { os: 'linux', architecture: OTHER },
  });
  index = indexOf([
    { image: host, platform: { os: 'linux', architecture: HOST_ARCHITECTURE } },
    { image: other, platform: { os: 'linux', architecture: OTHER } },
  ]);
  mkdirSync(join(box.directory, 'made'));
  writeLayout(join(box.directory, 'made'), { both: index });
  await box.ok(['copy', '-q', '--all-platforms', 'oci:made:both', `docker://${one.address}/a/both:1`]);
});
afterAll(async () => {
  await Promise.all([one.stop(), two.stop()]);
  await box.dispose();
});

const digestAt = async (location: string): Promise<string> => {
  const outcome = await box.host(['skopeo', 'inspect', '--raw', '--tls-verify=false', location]);
  expect(outcome.code, show(outcome)).toBe(0);
  const { createHash } = await import('node:crypto');
  return `sha256:${createHash('sha256').update(outcome.stdout).digest('hex')}`;
};
const top = () => index.target.descriptor.digest;
const hostDigest = () => host.target.descriptor.digest;

describe('copy', () => {
  it('copies an index whole, from a registry to another, byte for byte', async () => {
    const target = `docker://${two.address}/b/both:2`;
    const shown = await box.ok([
      'copy',
      '--all-platforms',
      '--digestfile',
      'd',
      `docker://${one.address}/a/both:1`,
      target,
    ]);
    expect(shown).toMatch(/^[0-9a-f]{12}: Copied$/m);
    expect(shown).toContain(`2: digest: ${top()}`);
    expect(readFileSync(join(box.directory, 'd'), 'utf8')).toBe(top());
    expect(await digestAt(target)).toBe(top());
    expect(
      await box.ok(['copy', '--all-platforms', `docker://${one.address}/a/both:1`, target]),
    ).not.toContain('Copied');
    expect(existsSync(join(box.root, 'layers'))).toBe(false);
  });

  it('has a registry take over what it has in another repository', async () => {
    const real = await startRegistry();
    try {
      await box.ok(['copy', '-q', `docker://${one.address}/a/both:1`, `docker://${real.address}/from/box:1`]);
      const shown = await box.ok([
        'copy',
        `docker://${real.address}/from/box:1`,
        `docker://${real.address}/to/box:1`,
      ]);
      expect(shown).toMatch(/^[0-9a-f]{12}: Mounted from from\/box$/m);
      expect(await digestAt(`docker://${real.address}/to/box:1`)).toBe(hostDigest());
    } finally {
      await real.stop();
    }
  });

  it('writes the manifest in another format, over the same blobs', async () => {
    const from = `docker://${one.address}/a/both:1`;
    await box.ok(['copy', '-q', '-f', 'v2s2', from, `docker://${two.address}/b/docker:1`]);
    const raw = await box.host([
      'skopeo',
      'inspect',
      '--raw',
      '--tls-verify=false',
      `docker://${two.address}/b/docker:1`,
    ]);
    expect(JSON.parse(raw.stdout)).toMatchObject({
      mediaType: 'application/vnd.docker.distribution.manifest.v2+json',
      layers: [{ mediaType: 'application/vnd.docker.image.rootfs.diff.tar.gzip' }],
    });
    await box.ok(['copy', '-q', '-f', 'oci', `docker://${two.address}/b/docker:1`, 'oci:formed:x']);
    const back = await box.host(['skopeo', 'inspect', '--raw', 'oci:formed:x']);
    expect(JSON.parse(back.stdout).config.digest).toBe(JSON.parse(raw.stdout).config.digest);
    const index = await box.run(['copy', '-f', 'oci', '--all-platforms', from, 'oci:formed:y']);
    expect(index.stderr).toContain('Cannot change the format of an index');
    expect((await box.run(['copy', '-f', 'v2s1', from, 'oci:formed:y'])).stderr).toContain(
      'expected oci or v2s2',
    );
  });

  it('takes the image of this machine, or of another platform', async () => {
    await box.ok(['copy', '-q', `docker://${one.address}/a/both:1`, `docker://${two.address}/b/host`]);
    expect(await digestAt(`docker://${two.address}/b/host`)).toBe(hostDigest());
    await box.ok([
      'copy',
      '-q',
      '--platform',
      `linux/${OTHER}`,
      `docker://${one.address}/a/both:1`,
      'oci:other:x',
    ]);
    const inspected = await box.host(['skopeo', 'inspect', '--format', '{{.Architecture}}', 'oci:other:x']);
    expect(inspected.stdout.trim(), show(inspected)).toBe(OTHER);
  });

  it('goes through layouts and archives, which skopeo reads and writes', async () => {
    await box.ok(['copy', '-q', `docker://${one.address}/a/both:1`, 'oci-archive:one.tar:v']);
    expect(await digestAt('oci-archive:one.tar:v')).toBe(hostDigest());
    await box.ok(['copy', '-q', 'oci-archive:one.tar:v', 'oci:two:v']);
    await box.ok(['copy', '-q', 'oci:two:v', 'oci:two:w']);
    expect(await digestAt('oci:two:w')).toBe(hostDigest());
    expect(readdirSync(join(box.directory, 'two')).sort()).toEqual(['blobs', 'index.json', 'oci-layout']);
    await box.ok(['copy', '-q', 'oci:two:v', 'docker-archive:three.tar:box:v']);
    const read = await box.host([
      'skopeo',
      'inspect',
      '--format',
      '{{.Os}}',
      'docker-archive:three.tar:box:v',
    ]);
    expect(read.stdout.trim(), show(read)).toBe('linux');
    const written = await box.host([
      'skopeo',
      'copy',
      'docker-archive:three.tar:box:v',
      'docker-archive:four.tar:box:w',
    ]);
    expect(written.code, show(written)).toBe(0);
    await box.ok(['copy', '-q', 'docker-archive:four.tar', `docker://${two.address}/b/four:w`]);
    await box.ok(['copy', '-q', `docker://${two.address}/b/four:w`, 'store:four']);
    expect(await box.ok(['run', '--rm', 'four', 'echo', 'through'])).toBe('through');
  });

  it('fills the store and empties it, all platforms too', async () => {
    await box.ok(['copy', '-q', '--all-platforms', `docker://${one.address}/a/both:1`, 'both']);
    expect((await box.ok(['images', '-q', 'both'])).split('\n')).toHaveLength(2);
    await box.ok(['copy', '-q', '--all-platforms', 'both', 'oci:from-store:x']);
    expect(await digestAt('oci:from-store:x')).toBe(top());
    await box.ok(['copy', 'both', 'store:again']);
    expect(await box.ok(['images', '--format', '{{.Repository}}', 'again'])).toMatch(/^again/);
    await box.ok(['copy', '-q', 'again', `docker://${two.address}/c/again`]);
    expect(await digestAt(`docker://${two.address}/c/again`)).toBe(hostDigest());
  });

  it('does not keep a blob that is not what its digest says', async () => {
    const bad = join(box.directory, 'bad');
    mkdirSync(bad);
    writeLayout(bad, {
      x: imageOf({ layers: [await layerOf([{ name: 'f', content: 'bad'.repeat(5000) }], 'none')] }),
    });
    const [largest = ''] = readdirSync(join(bad, 'blobs/sha256')).sort(
      (a, b) =>
        readFileSync(join(bad, 'blobs/sha256', b)).length - readFileSync(join(bad, 'blobs/sha256', a)).length,
    );
    const bytes = readFileSync(join(bad, 'blobs/sha256', largest));
    bytes[1000] = (bytes[1000] ?? 0) ^ 1;
    writeFileSync(join(bad, 'blobs/sha256', largest), bytes);
    const copies = ['oci:worse:x', 'oci-archive:worse.tar:x', `docker://${two.address}/worse/x:x`].map((to) =>
      box.run(['copy', '-q', '--retry', '0', 'oci:bad:x', to]),
    );
    for (const outcome of await Promise.all(copies)) {
      expect(outcome.code, show(outcome)).toBe(1);
      expect(outcome.stderr).toMatch(/digest/);
    }
    expect(existsSync(join(box.directory, 'worse/blobs/sha256', largest))).toBe(false);
    expect(existsSync(join(box.directory, 'worse/index.json'))).toBe(false);
    expect(readdirSync(box.directory).filter((name) => name.startsWith('worse.tar'))).toEqual([]);
  });

  it.each<[string, string, string]>([
    ['dir:/tmp/x', 'oci:x', 'Cannot copy "dir:/tmp/x": the transport "dir" is not known'],
    ['none', 'oci:x', 'No such image: none'],
    ['oci:none:x', 'oci:x', 'it has no index.json'],
    ['oci:made:nope', 'oci:x', 'it has no image "nope"'],
    ['docker-archive:/none.tar', 'oci:x', 'open /none.tar: no such file or directory'],
    ['oci:made:both', 'oci:odd', 'odd": it is no OCI image layout'],
  ])('refuses %s to %s', async (from, to, message) => {
    mkdirSync(join(box.directory, 'odd'), { recursive: true });
    writeFileSync(join(box.directory, 'odd/index.json'), '{}');
    const outcome = await box.run(['copy', from, to]);
    expect(outcome.code).toBe(1);
    expect(outcome.stderr).toContain(message);
  });
});
