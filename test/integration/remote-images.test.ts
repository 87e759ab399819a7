import { readdirSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import {
  type BuiltImage,
  busyboxImage,
  HOST_ARCHITECTURE,
  imageOf,
  indexOf,
  layerOf,
} from '../harness/images.ts';
import { type OwnRegistry, startOwnRegistry } from '../harness/own-registry.ts';
import { needing } from '../harness/requires.ts';
import { makeSandbox, type Sandbox, show } from '../harness/sandbox.ts';

const it = needing('root', 'overlay', 'busybox-static');
const OTHER = HOST_ARCHITECTURE === 'amd64' ? 'arm64' : 'amd64';

let box: Sandbox;
let registry: OwnRegistry;
let host: BuiltImage;
let other: BuiltImage;
beforeAll(async () => {
  registry = await startOwnRegistry();
  box = makeSandbox(registry.address);
  host = await busyboxImage();
  const own = await layerOf([{ name: 'own', content: 'x'.repeat(300_000) }]);
  other = imageOf({ layers: [own], platform: { os: 'linux', architecture: OTHER } });
  await registry.publish(host, 'team/host', '1');
  await registry.publish(other, 'team/other', '1');
  const platforms = [HOST_ARCHITECTURE, OTHER].map((architecture) => ({ os: 'linux', architecture }));
  const index = indexOf([
    { image: host, ...(platforms[0] === undefined ? {} : { platform: platforms[0] }) },
    { image: other, ...(platforms[1] === undefined ? {} : { platform: platforms[1] }) },
  ]);
  await registry.publish(index, 'team/both', '1');
});
afterAll(async () => {
  await registry.stop();
  await box.dispose();
});

const fails = async (args: readonly string[], message: string) => {
  const outcome = await box.run(args);
  expect(outcome.code, show(outcome)).toBe(1);
  expect(outcome.stderr).toContain(message);
};

describe('manifest', () => {
  it('makes a list of images of other repositories and pushes it', async () => {
    const images = ['team/host:1', 'team/other:1'];
    expect(await box.ok(['manifest', 'create', 'team/list', ...images])).toBe(
      'Created manifest list docker.io/team/list:latest',
    );
    await fails(
      ['manifest', 'create', 'team/list', 'team/host:1'],
      'refusing to amend an existing manifest list',
    );
    await box.ok([
      'manifest',
      'annotate',
      '--variant',
      'v9',
      '--os-features',
      'a,b',
      'team/list',
      'team/other:1',
    ]);
    const local = JSON.parse(await box.ok(['manifest', 'inspect', 'team/list']));
    expect(local.manifests[1]).toMatchObject({
      digest: other.target.descriptor.digest,
      platform: { os: 'linux', architecture: OTHER, variant: 'v9', 'os.features': ['a', 'b'] },
    });
    const pushed = await box.ok(['manifest', 'push', '--purge', 'team/list']);
    expect(pushed).toContain(
      `Pushed ref docker.io/team/list@${host.target.descriptor.digest} with digest: ${host.target.descriptor.digest}\n`,
    );
    expect(pushed.split('\n').at(-1)).toMatch(/^sha256:[0-9a-f]{64}$/);
    await box.ok(['pull', '-q', 'team/list']);
    expect(await box.ok(['run', '--rm', 'team/list', 'echo', 'listed'])).toBe('listed');
    await fails(['manifest', 'push', 'team/list'], 'No such manifest: docker.io/team/list:latest');
  });

  it('amends, removes, and refuses what cannot be', async () => {
    await box.ok(['manifest', 'create', 'more', 'team/host:1']);
    await box.ok(['manifest', 'create', '--amend', 'more', 'team/other:1']);
    expect(JSON.parse(await box.ok(['manifest', 'inspect', 'more'])).manifests).toHaveLength(2);
    await fails(
      ['manifest', 'annotate', '--arch', 'pdp11', 'more', 'team/host:1'],
      'unsupported os/arch combination: linux/pdp11',
    );
    await fails(
      ['manifest', 'annotate', '--arch', 'arm', 'more', 'busybox'],
      'manifest for image busybox does not exist in more',
    );
    await fails(['manifest', 'create', 'x', 'team/both:1'], 'team/both:1 is a manifest list');
    await box.ok(['manifest', 'rm', 'more']);
    await fails(['manifest', 'rm', 'more'], 'No such manifest');
  });
});

describe('inspect --remote', () => {
  it('shows an image that is not here, and keeps nothing of it', async () => {
    const before = readdirSync(join(box.root, 'blobs/sha256')).length;
    const [shown] = JSON.parse(await box.ok(['inspect', '--remote', 'team/both:1']));
    expect(shown).toMatchObject({ Os: 'linux', Architecture: HOST_ARCHITECTURE, RepoTags: ['team/both:1'] });
    const format = ['--format', '{{.Architecture}}'];
    expect(
      await box.ok(['image', 'inspect', '--remote', '--platform', OTHER, ...format, 'team/both:1']),
    ).toBe(OTHER);
    const raw = await box.run(['inspect', '--remote', '--raw', 'team/host:1']);
    expect(raw.stdout).toBe(host.target.bytes.toString());
    expect(readdirSync(join(box.root, 'blobs/sha256'))).toHaveLength(before);
    await fails(['inspect', '--raw', 'team/host:1'], '--raw needs --remote');
    await fails(['inspect', '--remote', 'team/none'], 'repository team/none not found');
  });
});

describe('pull --dry-run', () => {
  it('says what is missing, then that nothing is, then that there is something newer', async () => {
    const dry = (...args: string[]) => box.run(['pull', '--dry-run', ...args]);
    const image = imageOf({ layers: [await layerOf([{ name: 'a', content: 'first' }])] });
    await registry.publish(image, 'team/dry', 'x');
    const missing = await dry('team/dry:x');
    expect([missing.code, missing.stderr]).toEqual([10, '']);
    expect(missing.stdout).toMatch(/^[0-9a-f]{12}: Would download \d+B$/m);
    expect(missing.stdout).toContain(
      `Digest: ${image.target.descriptor.digest}\nStatus: Image is not here: team/dry:x`,
    );
    expect(await box.ok(['images', '-q', 'team/dry'])).toBe('');
    await box.ok(['pull', '-q', 'team/dry:x']);
    const same = await dry('-q', 'team/dry:x');
    expect([same.code, same.stdout]).toEqual([0, 'Image is up to date for team/dry:x\n']);
    const [base] = image.blobs.keys();
    expect(base).toBeDefined();
    const newer = imageOf({
      layers: [
        await layerOf([{ name: 'a', content: 'first' }]),
        await layerOf([{ name: 'b', content: 'second' }]),
      ],
    });
    await registry.publish(newer, 'team/dry', 'x');
    const again = await dry('team/dry:x');
    expect(again.code).toBe(10);
    expect(again.stdout).toMatch(/: Already exists$/m);
    expect(again.stdout).toMatch(/Newer image available for team\/dry:x: \d+B to download, 1 of 2 layers/);
    expect((await dry('team/none')).code).toBe(1);
  });
});

describe('images --tree, untag', () => {
  it('shows platforms and what they share, and takes names away', async () => {
    await box.ok(['pull', '-q', 'team/both:1']);
    await box.ok(['pull', '-q', '--platform', OTHER, 'team/both:1']);
    const tree = (await box.ok(['images', '--tree', 'team/both'])).split('\n');
    expect(tree[0]).toMatch(/^IMAGE +ID +DISK USAGE +SHARED +SHARED LAYERS$/);
    expect(tree[1]).toMatch(/^team\/both:1 +[0-9a-f]{12} +\d/);
    expect(
      tree
        .slice(2)
        .map((line) => line.split(/ +/).slice(0, 2).join(' '))
        .sort(),
    ).toEqual(
      [`├─ linux/${HOST_ARCHITECTURE}`, `└─ linux/${OTHER}`]
        .map((line) => line.replace('arm64', 'arm64/v8'))
        .sort(),
    );
    await box.ok(['tag', 'team/host:1', 'mine:1']).catch(() => box.ok(['pull', '-q', 'team/host:1']));
    await box.ok(['tag', 'team/host:1', 'mine:1']);
    await box.ok(['tag', 'team/host:1', 'mine:2']);
    await box.ok(['untag', 'mine:1', 'mine:2']);
    expect(await box.ok(['images', '--format', '{{.Tag}}', 'mine'])).toBe('1');
    await fails(['untag', 'mine:1', 'mine:2'], 'mine:2: tag not known');
    const id = await box.ok(['images', '-q', '--no-trunc', 'mine']);
    await box.ok(['untag', 'mine:1']);
    expect(await box.ok(['inspect', '-f', '{{len .RepoTags}}', id])).toBe('0');
    await fails(['images', '--tree', '-q'], '--quiet is not yet supported with --tree');
  });
});

describe('pull --retry', () => {
  it('tries as often as it is told to', async () => {
    let asked = 0;
    const server = createServer((request, response) => {
      if (request.url !== '/v2/') asked += 1;
      response.writeHead(request.url === '/v2/' ? 200 : 503).end();
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const askedBy = async (...args: string[]) => {
      asked = 0;
      await fails(['pull', '--retry-delay', '1ms', ...args, `127.0.0.1:${port}/x`], '503');
      return asked;
    };
    const once = await askedBy('--retry', '0');
    // A HEAD that is refused is followed by a GET, which is what is repeated.
    expect(await askedBy('--retry', '2')).toBe(once + 2);
    expect(await askedBy()).toBe(once + 4);
    server.close();
    await fails(['pull', '--retry', '-1', 'x'], '--retry: expected a number of times');
  });
});
