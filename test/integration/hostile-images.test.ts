import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { hexOf } from '../../src/oci/digest.ts';
import { MEDIA_TYPE, type ProcessDefaults } from '../../src/oci/image-spec.ts';
import { brokenTars, hostileTars } from '../fixtures/hostile-tars.ts';
import { describeTree } from '../fixtures/trees.ts';
import { type FaultyRegistry, startFaultyRegistry } from '../harness/faulty-registry.ts';
import {
  type BuiltLayer,
  busyboxEntries,
  digestOf,
  HOST_ARCHITECTURE,
  imageOf,
  type LayerEntry,
  layerOf,
  zstdStored,
} from '../harness/images.ts';
import { failureLine, leftovers, publishTo } from '../harness/pulling.ts';
import { needing } from '../harness/requires.ts';
import { makeSandbox, type Outcome, type Sandbox, show } from '../harness/sandbox.ts';

const it = needing('root', 'overlay', 'busybox-static');

const HOST = { os: 'linux', architecture: HOST_ARCHITECTURE };

const registry: FaultyRegistry = await startFaultyRegistry();
const box: Sandbox = makeSandbox(registry.host);
/** A directory of the host whose content must never change. */
const canary = join(box.directory, 'canary');
let canaryBefore: Map<string, string>;
let base: BuiltLayer;

beforeAll(async () => {
  mkdirSync(canary);
  writeFileSync(join(canary, 'file'), 'as it was');
  canaryBefore = await describeTree(canary);
  base = await layerOf(busyboxEntries());
  publish('base', [base]);
  await box.ok(['pull', '-q', 'base']);
});
afterAll(async () => {
  const left = await leftovers(box.root);
  await registry.close();
  await box.dispose();
  expect(left).toEqual([]);
});

const unharmed = async (): Promise<void> => expect(await describeTree(canary)).toEqual(canaryBefore);

function publish(
  name: string,
  layers: readonly BuiltLayer[],
  config: ProcessDefaults = { Cmd: ['true'] },
): void {
  publishTo(registry, `library/${name}`, 'latest', imageOf({ layers, platform: HOST, config }));
}

/** A layer of bytes that are no honest archive. */
function rawLayer(bytes: Buffer, blob: Buffer, mediaType: string): BuiltLayer {
  return {
    bytes: blob,
    diffId: digestOf(bytes),
    descriptor: { mediaType, digest: digestOf(blob), size: blob.length },
  };
}

/** A repository for a case. */
const nameOf = (group: string, what: string): string => `${group}-${digestOf(what).slice(7, 19)}`;

const pull = (name: string): Promise<Outcome> => box.run(['pull', '-q', name], { timeout: 20_000 });

const run = (name: string, flags: readonly string[] = [], ...command: string[]): Promise<Outcome> =>
  box.run(['run', '--rm', '-q', '--network', 'none', ...flags, name, ...command], { timeout: 20_000 });

/** What a container prints that nothing could harm; or a refusal in a line, with one of the engine's exit codes. */
function fineOrRefused(outcome: Outcome, stdout: string): void {
  if (outcome.code === 0 && outcome.stdout === stdout && outcome.stderr === '') return;
  expect([125, 126, 127], show(outcome)).toContain(outcome.code);
  expect(outcome.stdout, show(outcome)).toBe('');
  failureLine({ ...outcome, code: 125 }, 125);
}

describe.concurrent('hostile layers', () => {
  for (const [at, { what, bytes, outcome }] of [...hostileTars(canary), ...brokenTars()].entries()) {
    it(`${outcome}: ${what}`, async () => {
      const name = `layer-${at}`;
      publish(name, [base, rawLayer(bytes, gzipSync(bytes), MEDIA_TYPE.ociLayerGzip)]);
      const pulled = await pull(name);
      if (outcome === 'harmless') {
        expect(pulled.code, show(pulled)).toBe(0);
        // As a container sees it: what points outside points into its own root.
        const ran = await run(name, [], 'sh', '-c', `echo changed 2>/dev/null > ${canary}/file; echo ran`);
        expect(ran.stdout, show(ran)).toBe('ran\n');
      } else {
        expect(failureLine(pulled, 1)).toMatch(/^Cannot unpack layer "[0-9a-f]{12}": \S/);
      }
      await unharmed();
    });
  }
});

describe.concurrent('layers that are damaged', () => {
  const entries: LayerEntry[] = [{ name: 'file', content: Buffer.alloc(300_000, 'file') }];
  const made = layerOf(entries, 'none');

  it.each<[string, string, (tar: Buffer) => Buffer]>([
    ['a truncated gzip', MEDIA_TYPE.ociLayerGzip, (tar) => gzipSync(tar).subarray(0, -100)],
    ['a gzip without its end', MEDIA_TYPE.ociLayerGzip, (tar) => gzipSync(tar).subarray(0, -8)],
    ['a gzip with a wrong checksum', MEDIA_TYPE.ociLayerGzip, (tar) => flipped(gzipSync(tar), -6)],
    ['a gzip that is damaged', MEDIA_TYPE.ociLayerGzip, (tar) => flipped(gzipSync(tar), 100)],
    ['a gzip with rubbish behind it', MEDIA_TYPE.ociLayerGzip, (tar) => Buffer.concat([gzipSync(tar), tar])],
    ['a truncated zstd', MEDIA_TYPE.ociLayerZstd, (tar) => zstdStored(tar).subarray(0, -100)],
    ['a zstd that is damaged', MEDIA_TYPE.ociLayerZstd, (tar) => flipped(zstdStored(tar), 15)],
    ['a truncated tar', MEDIA_TYPE.ociLayer, (tar) => tar.subarray(0, 200_000)],
    ['nothing', MEDIA_TYPE.ociLayerGzip, () => Buffer.alloc(0)],
    ['noise', MEDIA_TYPE.ociLayerGzip, () => Buffer.alloc(5000, '\x07noise')],
  ])('%s', async (what, mediaType, damage) => {
    const name = nameOf('damaged', what);
    const { bytes: tar } = await made;
    publish(name, [base, { ...rawLayer(tar, damage(tar), mediaType) }]);
    expect(failureLine(await pull(name), 1)).toMatch(/^Cannot unpack layer "[0-9a-f]{12}": \S/);
    expect(failureLine(await run(name), 125)).toMatch(/^Cannot unpack layer/);
  });

  it('the content is not what the config says, and a good image with the same blob stays whole', async () => {
    const layer = await layerOf([{ name: 'honest', content: 'honest' }]);
    publish('honest', [base, layer], { Cmd: ['cat', '/honest'] });
    expect((await pull('honest')).code).toBe(0);
    publish('liar', [base, { ...layer, diffId: digestOf('something else') }]);
    expect(failureLine(await pull('liar'), 1)).toMatch(/^Cannot unpack layer "[0-9a-f]{12}": .*digest/);
    expect((await run('honest')).stdout).toBe('honest');
    expect(readdirSync(join(box.root, 'blobs/sha256'))).toContain(hexOf(layer.descriptor.digest));
  });

  it('another content under the name of a layer that is there changes nothing', async () => {
    const [good, evil] = [
      await layerOf([{ name: 'which', content: 'good' }]),
      await layerOf([{ name: 'which', content: 'evil' }]),
    ];
    publish('good', [base, good], { Cmd: ['cat', '/which'] });
    expect((await pull('good')).code).toBe(0);
    publish('evil', [base, { ...evil, diffId: good.diffId }], { Cmd: ['cat', '/which'] });
    await pull('evil');
    expect((await run('good')).stdout).toBe('good');
  });
});

function flipped(bytes: Buffer, at: number): Buffer {
  const changed = Buffer.from(bytes);
  const index = at < 0 ? bytes.length + at : at;
  changed[index] = (changed[index] ?? 0) ^ 0x55;
  return changed;
}

describe.concurrent('hostile configs', () => {
  it.each<[string, RegExp]>([
    ['ghost', /unable to find user ghost: no matching entries in passwd file/],
    ['ghost:root', /unable to find user ghost: no matching entries in passwd file/],
    ['root:ghost', /[Uu]nable to find group ghost: no matching entries in group file/],
    ['a:b:c', /Cannot use user "a:b:c": expected user\[:group\]/],
    ['4294967296', /4294967296|out of range|0-2147483647|uids and gids/],
    ['4294967295', /4294967295|out of range|0-2147483647|uids and gids/],
    ['-1', /uids and gids must be in range 0-2147483647/],
    ['../root', /\.\.\/root/],
    ['root\n', /root/],
  ])('USER %j', async (user, text) => {
    const name = nameOf('user', user);
    publish(name, [base], { User: user, Cmd: ['id'] });
    expect(failureLine(await run(name), 125)).toMatch(text);
  });

  it.each<[string, ProcessDefaults, number, RegExp]>([
    ['not there', { Entrypoint: ['/no/such'] }, 127, /"\/no\/such": .*no such file or directory/],
    ['not in PATH', { Entrypoint: ['nosuch'], Cmd: ['x'] }, 127, /executable file not found in \$PATH/],
    ['a directory', { Entrypoint: ['/etc'] }, 126, /permission denied|is a directory/],
    ['not executable', { Entrypoint: ['/etc/passwd'] }, 126, /permission denied/],
    ['nothing', {}, 125, /no command specified/],
    ['empty', { Entrypoint: [], Cmd: [] }, 125, /no command specified/],
    ['an empty word', { Entrypoint: [''] }, 127, /./],
    ['with a NUL', { Entrypoint: ['/bin/sh\0x'] }, 125, /contains a NUL byte/],
    ['that steers the terminal', { Entrypoint: ['\x1b[2J\u202egood\n'] }, 127, /\\u001b\[2J\\u202egood\\n/],
    ['PATH nowhere', { Entrypoint: ['ls'], Env: ['PATH=/no/where'] }, 127, /not found in \$PATH/],
  ])('ENTRYPOINT %s', async (what, config, code, text) => {
    const name = nameOf('entrypoint', what);
    publish(name, [base], config);
    const outcome = await run(name);
    expect(outcome.code, show(outcome)).toBe(code);
    expect(failureLine({ ...outcome, code: 125 }, 125)).toMatch(text);
  });

  it.each<[string, readonly string[], string | RegExp]>([
    ['of 2 MB in one', [`BIG=${'x'.repeat(2 << 20)}`], /[Aa]rgument list too long|E2BIG/],
    [
      'of 2 MB in many',
      Array.from({ length: 20_000 }, (_, n) => `V${n}=${'x'.repeat(100)}`),
      /too long|E2BIG/,
    ],
    ['of 100 kB', [`BIG=${'x'.repeat(100_000)}`], 'ran\n'],
    ['without =', ['JUSTANAME'], 'ran\n'],
    ['without a name', ['=x', '=', ''], 'ran\n'],
    ['with a NUL', ['A=b\0C=d'], /invalid environment variable: A=b/],
    ['with a line break', ['A=b\nC=d'], 'ran\n'],
    ['LD_PRELOAD', ['LD_PRELOAD=/evil.so', 'HOME=/../../x', 'PATH='], 'ran\n'],
  ])('ENV %s', async (what, env, expected) => {
    const name = nameOf('env', what);
    publish(name, [base], { Env: env, Cmd: ['/bin/echo', 'ran'] });
    const outcome = await run(name);
    if (typeof expected === 'string') {
      expect(outcome, show(outcome)).toEqual({ code: 0, stdout: expected, stderr: '' });
    } else {
      expect([125, 126, 127]).toContain(outcome.code);
      expect(failureLine({ ...outcome, code: 125 }, 125)).toMatch(expected);
    }
  });

  it.each([
    '/../../../../tmp/../new',
    '../../relative',
    '/link/new',
    '/up/new',
    '/etc/passwd',
    '/etc/passwd/below',
    '/loop/x',
    '/proc/self/fd/7',
    '/proc/self/fd/9',
    '/proc/self/fd/12',
    '/proc/1/cwd',
    '/proc/1/root/../..',
    '/dev/fd/8/../..',
    `/${'d/'.repeat(3000)}`,
    '/with\nbreak',
  ])('WORKDIR %j', async (directory) => {
    const name = nameOf('workdir', directory);
    const links: LayerEntry[] = [
      { name: 'link', type: 'symlink', linkname: canary },
      { name: 'up', type: 'symlink', linkname: `${'../'.repeat(30)}${canary.slice(1)}` },
      { name: 'loop', type: 'symlink', linkname: 'loop' },
    ];
    publish(name, [base, await layerOf(links)], {
      WorkingDir: directory,
      // Nothing of the host is seen from there.
      Cmd: [
        '/bin/sh',
        '-c',
        `ls ${box.binary} ../../../../../../../../..${box.binary} 2>/dev/null; echo ran`,
      ],
    });
    fineOrRefused(await run(name), 'ran\n');
    await unharmed();
  });

  it.each([
    ['volumes', { Volumes: { '/../../x': {}, relative: {}, '/': {}, '/proc/x': {}, [`${canary}`]: {} } }],
    ['ports', { ExposedPorts: { nonsense: {}, '99999/tcp': {}, '80/carrier-pigeon': {}, '': {} } }],
    ['signal', { StopSignal: 'SIGNONSENSE' }],
    ['labels', { Labels: { ['x'.repeat(1 << 20)]: 'y'.repeat(1 << 20), '': '' } }],
    ['health', { Healthcheck: { Test: ['NONSENSE'], Interval: -1 } }],
    ['shell', { Shell: [] }],
  ])('odd %s', async (name, config) => {
    publish(`odd-${name}`, [base], { ...config, Cmd: ['echo', 'ran'] });
    fineOrRefused(await run(`odd-${name}`), 'ran\n');
    fineOrRefused(await run(`odd-${name}`, ['-P']), 'ran\n');
    await unharmed();
  });

  it('for another machine', async () => {
    for (const platform of [
      { os: 'windows', architecture: 'amd64' },
      { os: 'linux', architecture: 'nonsense' },
    ]) {
      const image = imageOf({ layers: [base], platform, config: { Cmd: ['echo', 'ran'] } });
      publishTo(registry, `library/for-${platform.architecture}`, 'latest', image);
      const outcome = await run(`for-${platform.architecture}`);
      // Docker runs what it was told to, with a warning.
      if (outcome.code === 0) expect(outcome.stdout).toBe('ran\n');
      else failureLine(outcome, 125);
    }
  });
});

describe.concurrent('files of the image where the engine works', () => {
  const escapes = (): [string, string][] => [
    ['absolute', canary],
    ['relative', `${'../'.repeat(40)}${canary.slice(1)}`],
    ['proc', '/proc/1/root/etc'],
  ];
  const places = [
    'dev',
    'proc',
    'sys',
    'etc',
    'dev/shm',
    'dev/pts',
    'etc/hosts',
    'etc/resolv.conf',
    'etc/hostname',
  ];

  for (const place of places) {
    for (const [kind, target] of escapes()) {
      it(`/${place} is a symlink out of it: ${kind}`, async () => {
        const name = `at-${place.replace(/\W/g, '-')}-${kind}`;
        const entries = busyboxEntries().filter((entry) => !`${entry.name}/`.startsWith(`${place}/`));
        const link: LayerEntry = { name: place, type: 'symlink', linkname: target };
        publish(name, [await layerOf([...entries.filter(({ name: one }) => one !== `${place}/`), link])]);
        fineOrRefused(await run(name, [], '/bin/echo', 'ran'), 'ran\n');
        fineOrRefused(
          await run(name, ['--network', 'host', '--tmpfs', `/${place}/t`], '/bin/echo', 'ran'),
          'ran\n',
        );
        await unharmed();
      });
    }
  }

  it.each<[string, LayerEntry]>([
    ['/dev is a file', { name: 'dev', content: 'x' }],
    ['/proc is a fifo', { name: 'proc', type: 'fifo' }],
    ['/etc is a file', { name: 'etc', content: 'x' }],
    ['/etc/hosts is a directory', { name: 'etc/hosts/', type: 'directory' }],
    ['/etc/hosts is a fifo', { name: 'etc/hosts', type: 'fifo' }],
    ['/etc/hostname is a device', { name: 'etc/hostname', type: 'block-device', devmajor: 7, devminor: 0 }],
    ['/etc/resolv.conf is a loop', { name: 'etc/resolv.conf', type: 'symlink', linkname: 'resolv.conf' }],
    ['/sys is a device', { name: 'sys', type: 'character-device', devmajor: 1, devminor: 3 }],
    ['/.dockerenv is a fifo', { name: '.dockerenv', type: 'fifo' }],
  ])('%s', async (what, entry) => {
    const name = nameOf('odd', what);
    const bare = entry.name.replace(/\/$/, '');
    const others = busyboxEntries().filter((one) => !`${one.name}/`.startsWith(`${bare}/`));
    publish(name, [await layerOf([...others, entry])]);
    fineOrRefused(await run(name, ['--network', 'host'], '/bin/echo', 'ran'), 'ran\n');
    await unharmed();
  });

  it.each<[string, LayerEntry, RegExp]>([
    [
      'loop',
      { name: 'proc', type: 'symlink', linkname: 'proc' },
      /Symbolic links of the image lead in a circle/,
    ],
    ['file', { name: 'proc', content: 'x' }, /The image has something there that is not a directory/],
  ])('what is in the way is said: a %s', async (kind, entry, hint) => {
    publish(`in-the-way-${kind}`, [base, await layerOf([entry])]);
    const outcome = await run(`in-the-way-${kind}`);
    expect(failureLine(outcome, 125)).toMatch(/^Cannot mount proc on "\/proc": E[A-Z]+$/);
    expect(outcome.stderr).toMatch(hint);
  });

  const mounted = join(box.directory, 'mounted');
  const links: LayerEntry[] = [
    { name: 'out', type: 'symlink', linkname: canary },
    { name: 'up', type: 'symlink', linkname: `${'../'.repeat(40)}${canary.slice(1)}` },
    { name: 'swap', type: 'symlink', linkname: 'out/../../../../..' },
  ];
  const outside = ['/out', '/out/new', '/up/new/er', '/swap/x', '/out/file'];
  it.each(outside)('the target of a mount is behind a symlink out of it: %s', async (target) => {
    mkdirSync(mounted, { recursive: true });
    writeFileSync(join(mounted, 'inside'), 'x');
    const name = nameOf('mounts', target);
    publish(name, [base, await layerOf(links)]);
    for (const flags of [
      ['-v', `${mounted}:${target}`],
      ['-v', `${mounted}/inside:${target}/one`],
      ['--tmpfs', target],
      ['--mount', `type=bind,src=${mounted},dst=${target},ro`],
      ['-w', target],
      ['--device', `/dev/null:${target}/null`],
    ]) {
      fineOrRefused(await run(name, flags, '/bin/echo', 'ran'), 'ran\n');
    }
    await unharmed();
    expect(readdirSync(mounted)).toEqual(['inside']);
  });

  it.each<[string, readonly LayerEntry[], RegExp | undefined]>([
    [
      'a fifo',
      [{ name: 'etc/passwd', type: 'fifo' }],
      /"\/etc\/passwd" of the image: it is not a regular file/,
    ],
    [
      'a link to /dev/zero',
      [
        { name: 'dev/zero', type: 'character-device', devmajor: 1, devminor: 5, mode: 0o666 },
        { name: 'etc/passwd', type: 'symlink', linkname: '/dev/zero' },
      ],
      /passwd/,
    ],
    ['a device', [{ name: 'etc/passwd', type: 'character-device', devmajor: 1, devminor: 5 }], /passwd/],
    [
      'a directory',
      [{ name: 'etc/passwd/', type: 'directory' }],
      /"\/etc\/passwd" of the image: it is a directory/,
    ],
    ['a loop', [{ name: 'etc/passwd', type: 'symlink', linkname: 'passwd' }], /passwd/],
    [
      'a link to the host’s',
      [{ name: 'etc/passwd', type: 'symlink', linkname: `${'../'.repeat(40)}etc/shadow` }],
      /app/,
    ],
    [
      'a link to another process',
      [{ name: 'etc/passwd', type: 'symlink', linkname: '/proc/1/root/etc/passwd' }],
      /app/,
    ],
    ['of 50 MB', [{ name: 'etc/passwd', content: Buffer.alloc(50 << 20, 'x:x:1:1::/:/bin/sh\n') }], /passwd/],
    [
      'one line of 900 kB',
      [{ name: 'etc/passwd', content: `app:${'x'.repeat(900_000)}:5:5::/:/bin/sh` }],
      /app/,
    ],
    [
      'noise',
      [{ name: 'etc/passwd', content: Buffer.from('\0\xff:::\n:\napp\napp:x\napp:x:a:b::/\n', 'latin1') }],
      /app/,
    ],
  ])('/etc/passwd is %s', async (what, entries, text) => {
    const name = nameOf('passwd', what);
    publish(name, [base, await layerOf(entries)], { User: 'app', Cmd: ['id', '-u'] });
    const before = Date.now();
    expect(failureLine(await run(name), 125)).toMatch(text ?? /./);
    expect(Date.now() - before).toBeLessThan(15_000);
    // A number needs no file, but it is looked up there for its home and groups.
    fineOrRefused(await run(name, ['-u', '1234'], '/bin/echo', 'ran'), 'ran\n');
    fineOrRefused(await run(name, ['-u', '0'], '/bin/echo', 'ran'), 'ran\n');
  });
});

describe('after all of that', () => {
  it('the host is as it was, and the store works', async () => {
    await unharmed();
    const listed = await box.run(['images']);
    expect(listed.code, show(listed)).toBe(0);
    expect(await box.ok(['ps', '-a', '-q'])).toBe('');
    expect((await run('base', [], 'echo', 'works')).stdout).toBe('works\n');
  });
});
