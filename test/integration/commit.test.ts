import { createReadStream, existsSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { describeTree } from '../fixtures/trees.ts';
import { needing } from '../harness/requires.ts';
import { show } from '../harness/sandbox.ts';
import { type Seeded, seededSandbox } from '../harness/seed.ts';

const it = needing('root', 'overlay', 'nft', 'docker-registry', 'busybox-static', 'skopeo', 'umoci');

let box: Seeded;

/** Changes of every kind: names, owners, rights, deletions, replaced directories, devices, holes. */
const CHANGES = [
  'mkdir -p /new/deep /new/owned; chown 12:34 /new/owned; chmod 2751 /new/owned',
  'echo one >/new/a; ln /new/a /new/deep/b; ln -s ../a /new/deep/link; chmod 4755 /new/a; chown 1000:2000 /new/a; chmod 4755 /new/a',
  'mknod /new/char c 1 3; mknod /new/fifo p',
  'truncate -s 4M /new/sparse; echo end >>/new/sparse',
  `mkdir -p /new/${'n'.repeat(120)}; echo long >/new/${'n'.repeat(120)}/${'f'.repeat(200)}`,
  'rm /etc/shadow; rm -r /home; mkdir /home; echo back >/home/only; rm -r /usr; echo file >/usr',
  'rm /bin/wget; chmod 700 /tmp; chmod 711 / /etc',
];

beforeAll(async () => {
  box = await seededSandbox();
  mkdirSync(join(box.directory, 'volume'));
  const options = [
    '--network',
    'none',
    '-v',
    `${box.directory}/volume:/volume`,
    '-e',
    'ADDED=yes',
    '-l',
    'who=me',
  ];
  const script = `set -e; ${CHANGES.join('; ')}; touch /volume/outside; exec sleep 1000`;
  await box.ok(['run', '-d', '--name', 'changed', ...options, '-w', '/new', 'busybox', 'sh', '-c', script]);
  for (let i = 0; i < 100 && !existsSync(join(box.directory, 'volume/outside')); i += 1) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
});

afterAll(async () => {
  await box.dispose();
});

/** What a shell in a new container of an image sees of the changed files. */
const LOOK =
  'stat -c "%n %F %a %u:%g %h %s %t:%T" / /tmp /etc /new /new/* /new/deep/* /home/* /usr; ls /etc; ls /bin/wget /volume 2>&1; cat /new/n*/f*; readlink /new/deep/link; tail -c 4 /new/sparse';

async function look(image: string): Promise<string> {
  const outcome = await box.run(['run', '--rm', '--network', 'none', '-w', '/', image, 'sh', '-c', LOOK]);
  if (outcome.code !== 0) throw new Error(show(outcome));
  // Overlay counts one link of a directory that is merged.
  return outcome.stdout.replace(/(directory \S+ \S+) \d+/g, '$1');
}

const config = async (image: string): Promise<Record<string, unknown>> =>
  JSON.parse(await box.ok(['image', 'inspect', '--format', '{{json .}}', image]));

describe('commit', () => {
  it('makes an image that has what the container has', async () => {
    const id = await box.ok(['commit', '-a', 'An Author', '-m', 'why', 'changed', 'made:one']);
    expect(id).toMatch(/^sha256:[0-9a-f]{64}$/);
    const seen = await look('made:one');
    expect(seen).toContain('/tmp directory 700 0:0');
    expect(seen).toContain('/etc directory 711 0:0');
    expect(seen).toContain('/new/a regular file 4755 1000:2000 2 4');
    expect(seen).toContain('/new/owned directory 2751 12:34');
    expect(seen).toContain('/new/char character special file 644 0:0 1 0 1:3');
    expect(seen).toContain('/new/sparse regular file 644 0:0 1 4194308');
    expect(seen).toContain('/home/only regular file');
    expect(seen).toContain('/usr regular file');
    expect(seen).toContain('passwd');
    expect(seen).not.toContain('shadow');
    // A place to mount on is none of the container's files.
    expect(seen).toContain('ls: /volume: No such file or directory\nlong\n../a\nend\n');
    expect(seen).toContain('ls: /bin/wget: No such file or directory\n');
  });

  it('gives it the config that the container was run with', async () => {
    const made = await config('made:one');
    expect(made).toMatchObject({
      Author: 'An Author',
      Config: { Cmd: ['sh', '-c', expect.any(String)], WorkingDir: '/new', Labels: { who: 'me' } },
    });
    expect(JSON.stringify(made.Config)).toContain('ADDED=yes');
    const history = await box.ok([
      'history',
      '--no-trunc',
      '--format',
      '{{.CreatedBy}}|{{.Comment}}',
      'made:one',
    ]);
    expect(history.split('\n')[0]).toMatch(/^sh -c set -e; .*\|why$/);
  });

  it('applies changes of the config', async () => {
    const changes = [
      'CMD ["echo", "hello"]',
      'ENV A=1 B="two words"',
      'EXPOSE 80 53/udp',
      'LABEL x=y',
      'USER 1:2',
      'VOLUME /data',
      'WORKDIR sub',
      'ONBUILD RUN true',
      'STOPSIGNAL SIGINT',
      'ENTRYPOINT exec top',
    ].flatMap((change) => ['-c', change]);
    await box.ok(['commit', ...changes, 'changed', 'made:config']);
    const { Config } = await config('made:config');
    expect(Config).toMatchObject({
      Cmd: ['echo', 'hello'],
      Entrypoint: ['/bin/sh', '-c', 'exec top'],
      ExposedPorts: { '80/tcp': {}, '53/udp': {} },
      Labels: { who: 'me', x: 'y' },
      OnBuild: ['RUN true'],
      StopSignal: 'SIGINT',
      User: '1:2',
      Volumes: { '/data': {} },
      WorkingDir: '/new/sub',
    });
    expect(Config).toHaveProperty('Env', expect.arrayContaining(['ADDED=yes', 'A=1', 'B=two words']));
    const wrong = await box.run(['commit', '-c', 'RUN true', 'changed']);
    expect([wrong.code, wrong.stderr]).toEqual([
      1,
      expect.stringContaining('run is not a valid change command'),
    ]);
  });

  it('makes no layer where nothing was changed, and again the same one', async () => {
    await box.ok(['run', '--name', 'same', '--network', 'none', 'busybox', 'true']);
    await box.ok(['commit', 'same', 'made:same']);
    const layers = async (image: string) => (await config(image)).RootFS;
    expect(await layers('made:same')).toEqual(await layers('busybox'));
    await box.ok(['commit', 'changed', 'made:again']);
    expect(await layers('made:again')).toEqual(await layers('made:one'));
  });

  it('pauses the container meanwhile, unless told not to', async () => {
    await box.ok(['run', '-d', '--name', 'busy', '--network', 'none', 'busybox', 'sleep', '1000']);
    const since = String(Date.now() / 1000);
    await box.ok(['commit', 'busy']);
    const actions = async () =>
      (
        await box.ok([
          'events',
          '--since',
          since,
          '--until',
          String(Date.now() / 1000 + 1),
          '--filter',
          'container=busy',
          '--format',
          '{{.Action}}',
        ])
      ).split('\n');
    expect(await actions()).toEqual(['pause', 'unpause', 'commit']);
    await box.ok(['commit', '--pause=false', 'busy']);
    expect(await actions()).toEqual(['pause', 'unpause', 'commit', 'commit']);
    expect(await box.ok(['inspect', '--format', '{{.State.Status}}', 'busy'])).toBe('running');
  });

  it('leaves no container paused where it is killed', async () => {
    const fill = 'i=0; while [ $i -lt 200 ]; do head -c 100000 /dev/urandom >/tmp/$i; i=$((i+1)); done';
    await box.ok(['exec', 'busy', 'sh', '-c', fill]);
    const status = () => box.ok(['inspect', '--format', '{{.State.Status}}', 'busy']);
    const id = await box.ok(['inspect', '--format', '{{.Id}}', 'busy']);
    let seen = '';
    for (let attempt = 0; attempt < 10 && seen !== 'paused'; attempt += 1) {
      const child = box.start(['commit', 'busy']);
      const closed = new Promise((resolve) => child.once('close', resolve));
      const isPausing = () => existsSync(join(box.runRoot, 'pauses', id));
      for (let i = 0; i < 5000 && !isPausing(); i += 1)
        await new Promise((resolve) => setTimeout(resolve, 1));
      await new Promise((resolve) => setTimeout(resolve, 10 * attempt));
      child.kill('SIGKILL');
      await closed;
      seen = await status();
    }
    expect(seen).toBe('paused');
    await box.ok(['ps']);
    expect(await status()).toBe('running');
  });

  it('says what is wrong', async () => {
    const missing = await box.run(['commit', 'nobody', 'x']);
    expect([missing.code, missing.stderr]).toEqual([1, expect.stringContaining('No such container: nobody')]);
    const name = await box.run(['commit', 'changed', 'UPPER']);
    expect([name.code, name.stderr]).toEqual([1, expect.stringContaining('must be lowercase')]);
  });

  it('leaves nothing half where it is killed', async () => {
    await box.ok([
      'run',
      '--name',
      'heavy',
      '--network',
      'none',
      'busybox',
      'sh',
      '-c',
      'mkdir /h; cd /h; i=0; while [ $i -lt 400 ]; do head -c 40000 /dev/urandom >$i; i=$((i+1)); done',
    ]);
    for (let delay = 80; delay <= 480; delay += 80) {
      const child = box.start(['commit', 'heavy', 'made:heavy']);
      const closed = new Promise((resolve) => child.once('close', resolve));
      await new Promise((resolve) => setTimeout(resolve, delay));
      child.kill('SIGKILL');
      await closed;
    }
    await box.ok(['commit', 'heavy', 'made:heavy']);
    expect(readdirSync(join(box.root, 'layers')).filter((name) => name.startsWith('tmp-'))).toEqual([]);
    expect(
      await box.ok(['run', '--rm', '--network', 'none', 'made:heavy', 'sh', '-c', 'cat /h/* | wc -c']),
    ).toBe('16000000');
    const check = await box.run(['system', 'check']);
    expect([check.code, check.stdout + check.stderr]).toEqual([0, expect.any(String)]);
  });

  it('loses no layer to a collection that runs beside it', async () => {
    const names = ['one', 'two', 'three', 'four'];
    const commits = names.map((name) =>
      box.ok(['commit', '-c', `LABEL n=${name}`, 'changed', `beside:${name}`]),
    );
    const prunes = names.map(() => box.run(['image', 'prune', '-f']));
    await Promise.all([...commits, ...prunes]);
    for (const name of names) {
      expect(await box.ok(['run', '--rm', '--network', 'none', `beside:${name}`, 'cat', '/new/a'])).toBe(
        'one',
      );
    }
  });

  it('makes layers that other engines read', async () => {
    const bundle = join(box.directory, 'umoci');
    const layout = join(box.directory, 'layout');
    const copied = await box.host([
      'skopeo',
      'copy',
      '--insecure-policy',
      '-q',
      `oci:${box.root}:docker.io/library/made:one`,
      `oci:${layout}:one`,
    ]);
    if (copied.code !== 0) throw new Error(show(copied));
    const unpacked = await box.host(['umoci', 'unpack', '--image', `${layout}:one`, bundle]);
    if (unpacked.code !== 0) throw new Error(show(unpacked));
    const theirs = await describeTree(join(bundle, 'rootfs'));
    await box.ok(['export', '-o', 'exported.tar', 'changed']);
    const ours = join(box.directory, 'ours');
    mkdirSync(ours);
    expect(
      (await box.host(['tar', '-C', ours, '--xattrs', '-xf', join(box.directory, 'exported.tar')])).code,
    ).toBe(0);
    const mine = await describeTree(ours);
    // Places to mount on are in an export, as in Docker's; times of directories that overlay copied are not the image's.
    const relevant = (tree: Map<string, string>): [string, string][] =>
      [...tree]
        .filter(([path]) => /^(new|home|usr|bin\/)/.test(path))
        .map(([path, line]) => [path, line.replace(/ \d+\.\d+/, (time) => time.replace(/\..*/, ''))]);
    expect(relevant(mine).length).toBeGreaterThan(15);
    expect(relevant(theirs)).toEqual(relevant(mine));
    expect([...theirs.keys()]).not.toContain('bin/wget');
    expect([...theirs.keys()]).not.toContain('etc/shadow');
  });
});

describe('export and import', () => {
  it('give an image with the same files', async () => {
    const script = `"${box.binary}" export changed | "${box.binary}" import -c 'CMD ["sh"]' -m imported - made:imported`;
    const piped = await box.host(['sh', '-c', script]);
    expect(piped.stdout).toMatch(/^sha256:[0-9a-f]{64}\n$/);
    // But for the root's own rights, of which an export says nothing, and the place of the volume, which it has.
    const rest = (text: string) =>
      text.replace(/^\/ directory.*\n/, '').replace('ls: /volume: No such file or directory\n', '');
    const imported = await look('made:imported');
    expect(rest(imported).replace('/volume:\n', '')).toBe(rest(await look('made:one')));
    expect(await box.ok(['history', '--format', '{{.Comment}}', 'made:imported'])).toBe('imported');
    expect(await config('made:imported')).toMatchObject({ Config: { Cmd: ['sh'] } });
    const [layer] = readdirSync(join(box.root, 'layers'));
    expect(layer).toBeDefined();
  });

  it('exports a container that does not run, without volumes', async () => {
    await box.ok(['create', '--name', 'created', '-v', `${box.directory}/volume:/volume`, 'busybox']);
    await box.ok(['export', '-o', 'created.tar', 'created']);
    const list = await box.host(['tar', '-tf', join(box.directory, 'created.tar')]);
    expect(list.stdout.split('\n')).toContain('bin/busybox');
    expect(list.stdout).not.toContain('outside');
    const running = await box.host(['sh', '-c', `"${box.binary}" export changed | tar -t`]);
    expect(running.stdout.split('\n')).toContain('volume/');
    expect(running.stdout).not.toContain('volume/outside');
    expect(running.stdout).not.toMatch(/^proc\/./m);
  });

  it.each([
    ['gzip', ['-z']],
    ['zstd', ['--zstd']],
  ])('imports a file that is compressed with %s', async (name, flags) => {
    const root = join(box.directory, `root-${name}`);
    mkdirSync(join(root, 'bin'), { recursive: true });
    await box.host(['cp', '/bin/busybox', join(root, 'bin/sh')]);
    const file = join(box.directory, `${name}.tar`);
    await box.host(['tar', '-C', root, ...flags, '-cf', file, '.']);
    await box.ok(['import', '--platform', 'linux/amd64', file, `made:${name}`]);
    const out = await box.ok([
      'run',
      '--rm',
      '--network',
      'none',
      `made:${name}`,
      '/bin/sh',
      '-c',
      'echo hi',
    ]);
    expect(out).toBe('hi');
    expect(await config(`made:${name}`)).toMatchObject({ Os: 'linux', Architecture: 'amd64' });
  });

  it('imports what a URL names', async () => {
    const file = join(box.directory, 'gzip.tar');
    const server = createServer((_, response) => void createReadStream(file).pipe(response));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    try {
      await box.ok(['import', `http://127.0.0.1:${port}/root.tar.gz`, 'made:url']);
    } finally {
      server.close();
    }
    expect((await config('made:url')).RootFS).toEqual((await config('made:gzip')).RootFS);
    expect(await box.ok(['history', '--format', '{{.Comment}}', 'made:url'])).toContain(
      'Imported from http://',
    );
  });

  it('refuses what it cannot read, and leaves nothing', async () => {
    const before = readdirSync(join(box.root, 'layers')).sort();
    const bad = await box.run(['import', '-', 'made:bad'], { input: 'this is no tar'.repeat(200) });
    expect([bad.code, bad.stderr]).toEqual([1, expect.stringContaining('Cannot import the archive: ')]);
    const xz = await box.host(['sh', '-c', `tar c /etc/hostname | xz | "${box.binary}" import -`]);
    expect([xz.code, xz.stderr]).toEqual([1, expect.stringContaining('xz is not supported')]);
    const none = await box.run(['import', '/does/not/exist.tar']);
    expect([none.code, none.stderr]).toEqual([1, expect.stringContaining('no such file or directory')]);
    expect(readdirSync(join(box.root, 'layers')).sort()).toEqual(before);
    expect(statSync(box.root).isDirectory()).toBe(true);
    expect(readFileSync(join(box.root, 'index.json'), 'utf8')).not.toContain('made:bad');
  });
});
