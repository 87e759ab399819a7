import {
  appendFileSync,
  chmodSync,
  chownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { hexOf } from '../../src/oci/digest.ts';
import {
  type BuiltImage,
  type BuiltLayer,
  busyboxEntries,
  digestOf,
  HOST_ARCHITECTURE,
  imageOf,
  layerOf,
} from '../harness/images.ts';
import { leftovers } from '../harness/pulling.ts';
import { needing } from '../harness/requires.ts';
import { show } from '../harness/sandbox.ts';
import { type Seeded, seededSandbox } from '../harness/seed.ts';

const it = needing('root', 'overlay', 'docker-registry', 'busybox-static');

let box: Seeded;
let own: BuiltLayer;
let image: BuiltImage;
beforeAll(async () => {
  box = await seededSandbox();
  own = await layerOf([
    { name: 'd/', type: 'directory', mtime: 5 },
    { name: 'd/a', content: 'content', mode: 0o640, uid: 3, gid: 4, mtime: 7 },
    { name: 'd/b', type: 'link', linkname: 'd/a' },
    { name: 'd/s', type: 'symlink', linkname: 'a' },
    { name: 'etc/.wh.shadow' },
    { name: 'var/.wh..wh..opq' },
  ]);
  image = await withLayers('cared', [await layerOf(busyboxEntries()), own]);
});
afterAll(async () => {
  const left = await leftovers(box.root);
  await box.dispose();
  expect(left).toEqual([]);
});

async function withLayers(name: string, layers: readonly BuiltLayer[]): Promise<BuiltImage> {
  const built = imageOf({ layers, platform: { os: 'linux', architecture: HOST_ARCHITECTURE } });
  await box.publish(built, name);
  await box.ok(['pull', '-q', name]);
  return built;
}

const inLayer = (...names: string[]): string => join(box.root, 'layers', hexOf(own.diffId), 'fs', ...names);
const blobOf = (digest: string): string => join(box.root, 'blobs/sha256', digest.replace('sha256:', ''));

describe('system check', () => {
  it('finds nothing in a store that nobody touched, quickly or not', async () => {
    expect(await box.ok(['system', 'check'])).toMatch(/^2 images, 2 layers, \d+ blobs \(.*B\): no damage$/);
    expect(await box.ok(['system', 'check', '--quick'])).toMatch(/: no damage$/);
  });

  it('knows images that were built, committed, imported and pushed here', async () => {
    const context = join(box.directory, 'context');
    mkdirSync(context);
    writeFileSync(
      join(context, 'Dockerfile'),
      'FROM busybox\nRUN echo one > /one && rm /etc/group\nCOPY Dockerfile /d/\n',
    );
    await box.ok(['build', '-q', '-t', 'built', context]);
    const container = await box.ok(['create', 'built', 'true']);
    await box.ok(['commit', container, 'committed']);
    await box.ok(['rm', container]);
    await box.ok(['save', '-o', join(box.directory, 'built.tar'), 'built']);
    await box.ok(['rmi', 'built']);
    await box.ok(['load', '-q', '-i', join(box.directory, 'built.tar')]);
    await box.ok(['copy', 'docker://docker.io/library/busybox', 'store:copied']);
    expect(await box.ok(['system', 'check'])).toMatch(/: no damage$/);
    await box.ok(['rmi', 'built', 'committed', 'copied']);
    await box.ok(['builder', 'prune', '-af']);
  });

  const damages: readonly (readonly [what: string, damage: () => void, line: RegExp])[] = [
    ['a mode', () => chmodSync(inLayer('d/a'), 0o644), /"d\/a" has the mode 0644, expected 0640/],
    ['an owner', () => chownSync(inLayer('d/a'), 0, 0), /"d\/a" belongs to 0:0, expected 3:4/],
    [
      'a content of the same length',
      () => {
        writeFileSync(inLayer('d/a'), 'c0ntent');
        utimesSync(inLayer('d/a'), 7, 7);
      },
      /"d\/a" has another content/,
    ],
    ['a length', () => appendFileSync(inLayer('d/a'), 'x'), /"d\/a" /],
    ['a time', () => utimesSync(inLayer('d'), 9, 9), /"d" was changed at 9, expected 5/],
    ['a missing file', () => rmSync(inLayer('d/s')), /"d\/s" is missing/],
    [
      'a link that points elsewhere',
      () => {
        rmSync(inLayer('d/s'));
        symlinkSync('/etc/passwd', inLayer('d/s'));
      },
      /"d\/s" /,
    ],
    [
      'a hard link that is a copy',
      () => {
        rmSync(inLayer('d/b'));
        writeFileSync(inLayer('d/b'), 'content');
      },
      /"d\/b" is no hard link to "d\/a"/,
    ],
    ['a file too many', () => writeFileSync(inLayer('d/extra'), ''), /"d\/extra" is not in the layer/],
    ['a deletion undone', () => rmSync(inLayer('etc/shadow')), /"etc\/shadow" is not deleted any more/],
    ['a layer that is gone', () => rmSync(inLayer('..'), { recursive: true }), /: it is not unpacked/],
  ];
  for (const [what, damage, line] of damages) {
    it(`reports and repairs ${what}`, async () => {
      damage();
      const found = await box.run(['system', 'check']);
      expect(found.code, show(found)).toBe(1);
      expect(found.stdout).toMatch(line);
      expect(found.stdout).toMatch(/^layer [0-9a-f]{12} of cared:latest: /);
      const repaired = await box.ok(['system', 'check', '--repair']);
      expect(repaired).toMatch(/^layer [0-9a-f]{12} of cared:latest: unpacked again$/m);
      expect(repaired).toMatch(/damages?, repaired$/);
      expect(await box.ok(['system', 'check'])).toMatch(/: no damage$/);
    });
  }

  it('deletes a damaged blob and says what to pull again', async () => {
    const path = blobOf(own.descriptor.digest);
    const bytes = readFileSync(path);
    bytes[bytes.length - 20] = (bytes[bytes.length - 20] ?? 0) ^ 1;
    writeFileSync(path, bytes);
    expect(await box.ok(['system', 'check', '--quick'])).toMatch(/: no damage$/);
    const found = await box.run(['system', 'check']);
    expect(found.code).toBe(1);
    expect(found.stdout).toMatch(/^blob [0-9a-f]{12} of cared:latest: .*digest/);
    const repaired = await box.ok(['system', 'check', '--repair']);
    expect(repaired).toMatch(/^blob [0-9a-f]{12} of cared:latest: deleted; pull cared:latest again$/m);
    await box.ok(['pull', '-q', 'cared']);
    expect(await box.ok(['system', 'check'])).toMatch(/: no damage$/);
  });

  it('removes an image whose config is damaged, and what it had can be collected', async () => {
    const [id] = [...image.blobs].find(([, bytes]) => bytes.includes('"rootfs"')) ?? [];
    truncateSync(blobOf(String(id)), 10);
    const repaired = await box.ok(['system', 'check', '--repair']);
    expect(repaired).toMatch(/^image cared:latest: its config [0-9a-f]{12} is damaged$/m);
    expect(repaired).toMatch(/^image cared:latest: removed; pull cared:latest again$/m);
    await box.ok(['pull', '-q', 'cared']);
    expect(await box.ok(['system', 'check'])).toMatch(/: no damage$/);
  });

  it('leaves a layer alone that a running container has below its root', async () => {
    const container = await box.ok(['run', '-d', '--network', 'none', 'cared', 'sleep', '100']);
    chmodSync(inLayer('d/a'), 0o600);
    const kept = await box.run(['system', 'check', '--repair']);
    expect(kept.code, show(kept)).toBe(1);
    expect(kept.stdout).toContain(`kept, because container ${container.slice(0, 12)} runs on it`);
    await box.ok(['rm', '-f', container]);
    expect(await box.ok(['system', 'check', '--repair'])).toMatch(/, repaired$/);
  });
});

describe('system gc', () => {
  const setUse = (name: string, secondsAgo: number): void => {
    const [id] = [...(images.get(name)?.blobs ?? [])].find(([, bytes]) => bytes.includes('"rootfs"')) ?? [];
    utimesSync(blobOf(String(id)), Date.now() / 1000 - secondsAgo, Date.now() / 1000 - secondsAgo);
  };
  const names = async (): Promise<string[]> =>
    (await box.ok(['images', '--format', '{{.Repository}}'])).split('\n').sort();
  const images = new Map<string, BuiltImage>();
  const base = async (): Promise<void> => {
    for (const name of ['old', 'older', 'new']) {
      const layer = await layerOf([{ name: 'big', content: name.repeat(200_000) }], 'none');
      images.set(name, await withLayers(name, [layer]));
    }
    setUse('old', 50 * 3600);
    setUse('older', 100 * 3600);
  };

  it('says with --dry-run what would go, and removes what was not used for so long', async () => {
    await base();
    const dry = await box.ok(['system', 'gc', '--older-than', '3d', '--dry-run']);
    expect(dry).toMatch(
      /^Images that would be deleted:\nuntagged: older:latest\ndeleted: sha256:[0-9a-f]{64}\n\nTotal reclaimable space: 2\.\d+MB$/,
    );
    expect(await names()).toContain('older');
    const done = await box.ok(['system', 'gc', '--older-than', '3d']);
    expect(done).toMatch(/^Deleted Images:\nuntagged: older:latest\n/);
    expect(done).toMatch(/\n\nTotal reclaimed space: 2\.\d+MB$/);
    expect(await names()).toEqual(['busybox', 'cared', 'new', 'old']);
  });

  it('counts a container as a use, and keeps the last ones', async () => {
    setUse('new', 80 * 3600);
    const container = await box.ok(['create', 'new', 'x']);
    await box.ok(['rm', container]);
    const dry = await box.ok(['system', 'gc', '--keep-last', '1', '--dry-run']);
    expect(dry).toContain('untagged: old:latest');
    expect(dry).not.toContain('new:latest');
  });

  it('removes the ones used longest ago until the size is right', async () => {
    setUse('old', 5 * 3600);
    setUse('new', 9 * 3600);
    await box.ok(['system', 'gc', '--max-size', '4000000']);
    expect(await names()).not.toContain('new');
    expect(await names()).toContain('busybox');
    await box.ok(['system', 'gc', '--max-size', '0']);
    expect(await names()).toEqual(['']);
    expect(readdirSync(join(box.root, 'blobs/sha256'))).toEqual([]);
    await box.ok(['pull', '-q', 'busybox']);
  });

  it('keeps what a container needs, whatever the policy', async () => {
    const container = await box.ok(['create', 'busybox', 'true']);
    await box.ok(['system', 'gc', '--max-size', '0']);
    expect(await names()).toEqual(['busybox']);
    await box.ok(['rm', container]);
  });

  it('refuses nonsense', async () => {
    for (const flag of ['--older-than=x', '--keep-last=-1', '--max-size=many']) {
      const refused = await box.run(['system', 'gc', flag]);
      expect(refused.code, flag).toBe(125);
    }
  });

  it('deletes nothing that a pull under way has brought', async () => {
    const layer = await layerOf([{ name: 'slow', content: 'slow' }]);
    // What no image names: a blob as a pull leaves it before it gives the name.
    const stray = blobOf(digestOf(layer.bytes));
    writeFileSync(stray, layer.bytes);
    const holder = await box.host(['flock', '-s', join(box.root, 'store.lease'), box.binary, 'system', 'gc']);
    expect(holder.stderr).toContain('A pull is running');
    expect(statSync(stray).size).toBe(layer.bytes.length);
    await box.ok(['system', 'gc']);
    expect(statSync(stray, { throwIfNoEntry: false })).toBeUndefined();
  });
});

describe('system prune', () => {
  it('removes stopped containers and, with -a, images, in Docker’s words', async () => {
    const container = await box.ok(['create', 'busybox', 'true']);
    const asked = await box.run(['system', 'prune']);
    expect(asked.code).toBe(1);
    expect(asked.stderr).toContain('Give --force');
    const refused = await box.run(['system', 'prune', '-f', '--volumes', '--filter', 'until=24h']);
    expect(refused.stderr).toContain('The "until" filter is not supported with "--volumes"');
    const filtered = await box.ok(['system', 'prune', '-af', '--filter', 'until=24h']);
    expect(filtered).not.toContain(container);
    await box.ok(['network', 'create', 'idle']);
    const pruned = await box.ok(['system', 'prune', '-af']);
    expect(pruned).toMatch(
      new RegExp(
        `^Deleted Containers:\n${container}\n\nDeleted Networks:\nidle\n\nDeleted Images:\nuntagged: busybox:latest\n`,
      ),
    );
    expect(pruned).toMatch(/\n\nTotal reclaimed space: [0-9.]+MB$/);
    expect(await box.ok(['system', 'prune', '-f'])).toBe('Total reclaimed space: 0B');
  });

  it('removes anonymous volumes only with --volumes, and never named ones', async () => {
    const anonymous = await box.ok(['volume', 'create']);
    const named = await box.ok(['volume', 'create', 'named']);
    expect(await box.ok(['system', 'prune', '-f'])).toBe('Total reclaimed space: 0B');
    const pruned = await box.ok(['system', 'prune', '-f', '--volumes']);
    expect(pruned).toMatch(new RegExp(`^Deleted Volumes:\n${anonymous}\n\nTotal reclaimed space: `));
    expect(await box.ok(['volume', 'ls', '-q'])).toBe(named);
    await box.ok(['volume', 'rm', named]);
  });
});
