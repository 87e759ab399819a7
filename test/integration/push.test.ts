import { mkdtempSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { shortId } from '../../src/oci/digest.ts';
import { type AuthProxy, startAuthProxy } from '../harness/auth-proxy.ts';
import {
  type BuiltLayer,
  busyboxEntries,
  HOST_ARCHITECTURE,
  imageOf,
  indexOf,
  layerOf,
} from '../harness/images.ts';
import { leftovers } from '../harness/pulling.ts';
import { type RealRegistry, startRegistry } from '../harness/registry.ts';
import { needing } from '../harness/requires.ts';
import { show } from '../harness/sandbox.ts';
import { type Seeded, seededSandbox } from '../harness/seed.ts';

const it = needing('root', 'overlay', 'docker-registry', 'busybox-static', 'skopeo');
const HOST = { os: 'linux', architecture: HOST_ARCHITECTURE };

let box: Seeded;
let other: RealRegistry;
let guarded: AuthProxy;
let base: BuiltLayer;
beforeAll(async () => {
  box = await seededSandbox(startRegistry);
  other = await startRegistry();
  guarded = await startAuthProxy(other.address, { username: 'me', password: 'secret', scheme: 'bearer' });
  base = await layerOf(busyboxEntries());
});
afterAll(async () => {
  await guarded.close();
  await other.stop();
  const left = await leftovers(box.root);
  await box.dispose();
  expect(left).toEqual([]);
});

const remote = async (name: string) => {
  const outcome = await box.host(['skopeo', 'inspect', '--raw', '--tls-verify=false', `docker://${name}`]);
  expect(outcome.code, show(outcome)).toBe(0);
  return outcome.stdout;
};

describe('push', () => {
  it.each(['oci', 'docker'] as const)(
    'keeps the digest of a pulled %s image, in Docker’s words',
    async (flavour) => {
      const own = await layerOf([{ name: 'own', content: flavour }]);
      const image = imageOf({
        layers: [base, own],
        platform: HOST,
        flavour,
        config: { Cmd: ['cat', '/own'] },
      });
      await box.publish(image, flavour);
      await box.ok(['pull', '-q', flavour]);
      const target = `${other.address}/made/${flavour}`;
      await box.ok(['tag', flavour, `${target}:v1`]);
      const outcome = await box.run(['push', `${target}:v1`]);
      expect(outcome.code, show(outcome)).toBe(0);
      expect(outcome.stderr).toBe('');
      const lines = outcome.stdout.trimEnd().split('\n');
      const ids = [base, own].map(({ descriptor }) => shortId(descriptor.digest));
      const { digest, size } = image.target.descriptor;
      expect(lines[0]).toBe(`The push refers to repository [${target}]`);
      expect(lines.slice(1, 3)).toEqual(ids.map((id) => `${id}: Preparing`));
      expect(
        lines
          .slice(3, 5)
          .every((line) => /: (Pushed|Mounted from made\/oci|Layer already exists)$/.test(line)),
      ).toBe(true);
      expect(lines[5]).toBe(`v1: digest: ${digest} size: ${size}`);
      expect(await remote(`${target}:v1`)).toBe(image.target.bytes.toString());
      expect(await box.ok(['inspect', '-f', '{{join .RepoDigests " "}}', flavour])).toContain(
        `${target}@${digest}`,
      );

      const again = await box.ok(['push', `${target}:v1`]);
      expect(again.split('\n').filter((line) => line.endsWith(': Layer already exists'))).toHaveLength(2);
      expect(await box.ok(['push', '-q', `${target}:v1`])).toBe(`${target}:v1`);
    },
  );

  it('mounts layers from the repository they were pulled from', async () => {
    const from = `${box.registry.address}/library/busybox`;
    await box.ok(['pull', '-q', from]);
    await box.ok(['tag', from, `${box.registry.address}/mine/box`]);
    const pushed = await box.ok(['push', `${box.registry.address}/mine/box`]);
    expect(pushed).toContain('Using default tag: latest\n');
    expect(pushed).toMatch(/^[0-9a-f]{12}: Mounted from library\/busybox$/m);
    await remote(`${box.registry.address}/mine/box`);
  });

  it('asks a token for pull and push, and says what helps where it is not given', async () => {
    const target = `${guarded.address}/guarded/box`;
    await box.ok(['tag', 'busybox', target]);
    const refused = await box.run(['push', target]);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain('denied: requested access to the resource is denied');
    expect(refused.stderr).toContain('tinyrun login');
    await box.ok(['login', '-u', 'me', '--password-stdin', guarded.address], { input: 'secret' });
    await box.ok(['push', target]);
    expect(guarded.scopes).toContain('repository:guarded/box:pull,push');
    await remote(`${other.address}/guarded/box`);
  });

  it('sends a layer of many megabytes, and others copy it', async () => {
    const content = Buffer.alloc(12 << 20, 0).map((_, at) => (at * 7919) >> 5);
    const image = imageOf({
      layers: [base, await layerOf([{ name: 'large', content }], 'none')],
      platform: HOST,
    });
    await box.publish(image, 'large');
    await box.ok(['pull', '-q', 'large']);
    await box.ok(['tag', 'large', `${other.address}/large`]);
    await box.ok(['push', `${other.address}/large`]);
    const layout = mkdtempSync(join(box.directory, 'copied-'));
    const copied = await box.host([
      'skopeo',
      'copy',
      '--preserve-digests',
      '--insecure-policy',
      '--src-tls-verify=false',
      `docker://${other.address}/large`,
      `oci:${layout}:x`,
    ]);
    expect(copied.code, show(copied)).toBe(0);
    const index = readFileSync(join(layout, 'index.json'), 'utf8');
    expect(index).toContain(image.target.descriptor.digest);
  });

  it('sends one platform, or with --all-platforms the index with what is here', async () => {
    const arm = { os: 'linux', architecture: 'arm64', variant: 'v8' };
    const images = await Promise.all(
      [HOST, arm, { os: 'linux', architecture: 's390x' }].map(async (platform) => ({
        platform,
        image: imageOf({
          layers: [await layerOf([{ name: 'arch', content: platform.architecture }])],
          platform,
        }),
      })),
    );
    const index = indexOf(images);
    await box.publish(index, 'many');
    const target = `${other.address}/many`;
    await box.ok(['pull', '-q', 'many']);
    await box.ok(['tag', 'many', target]);
    await box.ok(['push', target]);
    expect(await remote(target)).toBe(images[0]?.image.target.bytes.toString());

    await box.ok(['pull', '-q', '--platform', 'linux/arm64', 'many']);
    await box.ok(['tag', 'many', target]);
    const partial = await box.run(['push', '--all-platforms', target]);
    expect(partial.stderr).toBe('Only 2 of the 3 images of the index are in the store\n');
    const reduced = JSON.parse(await remote(target)) as { manifests: { digest: string }[] };
    expect(reduced.manifests.map(({ digest }) => digest)).toEqual(
      images.slice(0, 2).map(({ image }) => image.target.descriptor.digest),
    );

    await box.ok(['pull', '-q', '--platform', 'linux/s390x', 'many']);
    await box.ok(['tag', 'many', target]);
    const whole = await box.run(['push', '--all-platforms', target]);
    expect(whole.stderr, show(whole)).toBe('');
    expect(await remote(target)).toBe(index.target.bytes.toString());
    await box.ok(['push', '--platform', 'linux/s390x', target]);
    expect(await remote(target)).toBe(images[2]?.image.target.bytes.toString());
  });

  it('pushes all tags, and says what is not there', async () => {
    const repository = `${other.address}/tags`;
    await box.ok(['tag', 'busybox', `${repository}:a`]);
    await box.ok(['tag', 'busybox', `${repository}:b`]);
    const pushed = await box.ok(['push', '-a', repository]);
    expect(pushed.match(/^[ab]: digest: /gm)).toEqual(['a: digest: ', 'b: digest: ']);
    const cases: [string[], string][] = [
      [['nosuch'], 'An image does not exist locally with the tag: nosuch'],
      [[`${repository}:c`], `tag does not exist: ${repository}:c`],
      [['-a', `${repository}:a`], "tag can't be used with --all-tags/-a"],
      [[`busybox@sha256:${'0'.repeat(64)}`], 'cannot push a digest reference'],
    ];
    for (const [args, text] of cases) {
      const outcome = await box.run(['push', ...args]);
      expect(outcome.code, show(outcome)).toBe(1);
      expect(outcome.stderr).toContain(text);
    }
  });
});
