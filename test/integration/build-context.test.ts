import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type AddressInfo, connect, createServer as tcpServer } from 'node:net';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { directory, file, hardLink, symlink, tar } from '../fixtures/tars.ts';
import { type Building, building } from '../harness/building.ts';
import { needing } from '../harness/requires.ts';
import { type CommandOptions, makeSandbox, type Outcome, type Sandbox, show } from '../harness/sandbox.ts';

const it = needing('root', 'overlay', 'git', 'xz', 'bzip2', 'zstd');

let box: Sandbox;
let on: Building;
/** What no build may read or change. */
let canary: string;
beforeAll(() => {
  box = makeSandbox();
  on = building(box);
  canary = join(box.directory, 'canary');
  writeFileSync(canary, 'secret of the host');
});
afterAll(async () => {
  expect(readFileSync(canary, 'utf8')).toBe('secret of the host');
  expect(readdirSync(join(box.root, 'build-scratch'))).toEqual([]);
  await box.dispose();
});

/** Builds, and gives the files of the result with their content. */
async function result(
  args: readonly string[],
  options: CommandOptions = {},
): Promise<Record<string, string>> {
  const out = mkdtempSync(join(box.directory, 'out-'));
  const outcome = await box.run(['build', '--progress', 'plain', '-o', out, ...args], options);
  expect(outcome.code, show(outcome)).toBe(0);
  const found: Record<string, string> = {};
  for (const entry of readdirSync(out, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile()) found[path.slice(out.length + 1)] = readFileSync(path, 'utf8');
  }
  return found;
}

function refused(outcome: Outcome, message: string): void {
  expect(outcome.code, show(outcome)).toBe(1);
  expect(outcome.stderr).toContain(message);
  expect(outcome.stdout + outcome.stderr).not.toContain('secret of the host');
}

const COPY_ALL = 'FROM scratch\nCOPY . /\n';

describe('build: contexts on standard input', () => {
  it('are tars of any compression, in which a name with .wh. deletes nothing', async () => {
    const ignore = 'Dockerfile\n.dockerignore\n**/.wh.*\n';
    const plain = tar(
      file('Dockerfile', COPY_ALL),
      file('.dockerignore', ignore),
      directory('d/'),
      file('d/x', 'x'),
      file('d/.wh.x', ''),
    );
    const compress = (program: string): Buffer => execFileSync(program, ['-c'], { input: plain });
    for (const input of [plain, gzipSync(plain), compress('xz'), compress('bzip2'), compress('zstd')])
      expect(await result(['-'], { input })).toEqual({ 'd/x': 'x' });
  });

  it('are a Dockerfile where they are no archive', async () => {
    expect(await result(['-'], { input: 'FROM scratch\nCOPY <<E /f\nx\nE\n' })).toEqual({ f: 'x\n' });
    const context = on.context({ a: 'A' });
    expect(await result(['-f', '-', context], { input: COPY_ALL })).toEqual({ a: 'A' });
    refused(await box.run(['build', '-f', '-', '-'], { input: 'x' }), "can't use stdin for both");
  });

  it('cannot leave their directory (CVE-2026-44517)', async () => {
    const up = '../'.repeat(20).slice(0, -1);
    const escaping = tar(
      file('Dockerfile', 'FROM scratch\nCOPY in/canary /\n'),
      symlink('in', `${up}${box.directory}`),
      symlink('root', '/'),
    );
    refused(await box.run(['build', '-'], { input: escaping }), '"/in/canary": not found');
    const dockerfile = tar(symlink('Dockerfile', canary));
    refused(await box.run(['build', '-'], { input: dockerfile }), 'failed to read dockerfile');
    for (const hostile of [
      tar(file('Dockerfile', COPY_ALL), symlink('x', box.directory), file('x/canary', 'changed')),
      tar(file('Dockerfile', COPY_ALL), file(`${up}${canary}`, 'changed')),
      tar(file('Dockerfile', COPY_ALL), hardLink('x', canary), file('x', 'changed')),
    ])
      await box.run(['build', '-'], { input: hostile });
    expect(readFileSync(canary, 'utf8')).toBe('secret of the host');
  });

  it('end with an error where they are damaged, and leave nothing', async () => {
    const cut = gzipSync(tar(file('Dockerfile', COPY_ALL), file('x', 'x'.repeat(100_000)))).subarray(0, 200);
    refused(await box.run(['build', '-'], { input: cut }), 'Cannot unpack the build context');
  });
});

describe('build: directories', () => {
  it('reach nothing outside by links', async () => {
    const escaping = { Dockerfile: 'FROM scratch\nCOPY up/canary /\n', up: { link: box.directory } };
    refused(await on.build(escaping), '"/up/canary": not found');
    expect(
      await result([on.context({ Dockerfile: 'FROM scratch\nCOPY d /\n', 'd/up': { link: canary } })]),
    ).toEqual({});
  });

  it('are ignored as the Dockerfile says that has a .dockerignore of its own', async () => {
    const files = {
      Dockerfile: COPY_ALL,
      'other.Dockerfile': COPY_ALL,
      '.dockerignore': '*\n!a\n',
      'other.Dockerfile.dockerignore': '*\n!b/**\nb/no\n',
      a: 'A',
      'b/yes': 'Y',
      'b/no': 'N',
    };
    const context = on.context(files);
    expect(await result([context])).toEqual({ a: 'A' });
    expect(await result(['-f', join(context, 'other.Dockerfile'), context])).toEqual({ 'b/yes': 'Y' });
    refused(
      await on.build({ ...files, Dockerfile: 'FROM scratch\nCOPY b /\n' }),
      'the .dockerignore file excludes it',
    );
  });

  it('come under names, too', async () => {
    const named = on.context({ '.dockerignore': 'no\n', yes: 'Y', no: 'N' });
    const main = on.context({ Dockerfile: 'FROM scratch\nCOPY --from=other / /\n' });
    const found = await result(['--build-context', `other=${named}`, main]);
    expect(found).toMatchObject({ yes: 'Y' });
    expect(found).not.toHaveProperty('no');
  });

  it('have errors with the lines that they are about, and what was meant', async () => {
    const outcome = await on.build({ Dockerfile: 'FROM scratch\nCOYP a b\n' });
    refused(outcome, '>>> COYP a b');
    expect(outcome.stderr).toContain(
      'dockerfile parse error on line 2: unknown instruction: COYP (did you mean COPY?)',
    );
    refused(await box.run(['build', on.context({ a: '' })]), 'open Dockerfile: no such file or directory');
    refused(await box.run(['build', '/nowhere/at/all']), 'path "/nowhere/at/all" not found');
  });
});

describe('build: git repositories', () => {
  let daemon: ChildProcess;
  let address: string;
  let work: string;
  const git = (...args: readonly string[]): string =>
    execFileSync(
      'git',
      ['-c', 'user.name=t', '-c', 'user.email=t@t', '-c', 'protocol.file.allow=always', ...args],
      {
        cwd: work,
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      },
    ).trim();
  beforeAll(async () => {
    const base = join(box.directory, 'git');
    work = join(base, 'repo');
    mkdirSync(join(work, 'sub'), { recursive: true });
    git('init', '-q', '-b', 'main');
    writeFileSync(join(work, 'Dockerfile'), COPY_ALL);
    writeFileSync(join(work, 'sub', 'Dockerfile'), 'FROM scratch\nCOPY f /\n');
    writeFileSync(join(work, 'sub', 'f'), 'one');
    symlinkSync(box.directory, join(work, 'escape'));
    git('add', '.');
    git('commit', '-qm', 'one');
    git('tag', '-am', 'first', 'v1');
    writeFileSync(join(work, 'sub', 'f'), 'two');
    git('commit', '-qam', 'two');
    const port = await freePort();
    daemon = spawn(
      'git',
      [
        'daemon',
        '--reuseaddr',
        '--listen=127.0.0.1',
        `--port=${port}`,
        '--export-all',
        `--base-path=${base}`,
        base,
      ],
      {
        stdio: 'ignore',
        detached: true,
      },
    );
    await answers(port);
    address = `git://127.0.0.1:${port}/repo`;
  });
  afterAll(() => {
    if (daemon.pid !== undefined) process.kill(-daemon.pid, 'SIGKILL');
  });

  it('are checked out at a branch, a tag or a commit, from a subdirectory', async () => {
    expect(await result([`${address}#main:sub`])).toEqual({ f: 'two' });
    expect(await result([`${address}#v1:sub`])).toEqual({ f: 'one' });
    expect(await result([`${address}#${git('rev-parse', 'v1^{commit}')}:sub`])).toEqual({ f: 'one' });
    expect(await result([address])).toMatchObject({ 'sub/f': 'two' });
    expect(Object.keys(await result([address])).filter((path) => path.includes('.git'))).toEqual([]);
  });

  it('cannot name directories outside of themselves (CVE-2026-33748)', async () => {
    refused(await box.run(['build', `${address}#main:escape`]), 'is not a directory of the repository');
    refused(await box.run(['build', `${address}#main:../../..`, '-f', 'canary']), 'no such file');
    refused(await box.run(['build', `${address}#main:nothing`]), 'subdir not found');
  });

  it('take no options in the place of names (CVE-2019-13139)', async () => {
    const marker = join(box.directory, 'marker');
    const hostile = `--upload-pack=touch ${marker}`;
    refused(await box.run(['build', `${address}#${hostile}`]), 'invalid git ref');
    refused(await box.run(['build', `ext::sh -c "touch ${marker}"`]), 'not found');
    refused(await box.run(['build', `git@-oProxyCommand=touch${marker}:x`]), 'not found');
    expect(existsSync(marker)).toBe(false);
  });

  it('get no submodule from the host', async () => {
    const inner = join(box.directory, 'git', 'inner');
    mkdirSync(inner);
    execFileSync('git', ['init', '-q', inner]);
    git('-C', inner, 'commit', '-q', '--allow-empty', '-m', 'x');
    git('checkout', '-qb', 'evil');
    git('submodule', '--quiet', 'add', inner, 'module');
    git('commit', '-qm', 'module');
    const outcome = await box.run(['build', `${address}#evil`]);
    expect(outcome.code, show(outcome)).toBe(1);
    expect(outcome.stderr).toMatch(/transport 'file' not allowed/);
  });

  it('say which name they do not have', async () => {
    refused(await box.run(['build', `${address}#nothing`]), 'git fetch failed');
  });
});

describe('build: addresses', () => {
  let server: Server;
  let base: string;
  let asked: string[] = [];
  let whenSlow = (): void => {};
  const bodies: Readonly<Record<string, string | Buffer>> = {
    '/Dockerfile': 'FROM scratch\nCOPY <<E /f\nfrom afar\nE\n',
    '/context.tar.gz': gzipSync(tar(file('Dockerfile', COPY_ALL), file('a', 'A'))),
    '/file.txt': 'payload',
    '/slow': 'slow',
  };
  beforeAll(async () => {
    server = createServer(serve);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => server.close());

  function serve(request: IncomingMessage, response: ServerResponse): void {
    const body = bodies[request.url ?? ''];
    if (request.url === '/slow') whenSlow();
    const etag = '"v1"';
    const fresh = request.headers['if-none-match'] === etag;
    asked.push(`${request.url} ${body === undefined ? 404 : fresh ? 304 : 200}`);
    response.writeHead(body === undefined ? 404 : fresh ? 304 : 200, { etag });
    response.end(fresh ? undefined : body);
  }

  it('are a Dockerfile or a tar', async () => {
    expect(await result([`${base}/Dockerfile`])).toEqual({ f: 'from afar\n' });
    expect(await result([`${base}/context.tar.gz`])).toMatchObject({ a: 'A' });
    refused(await box.run(['build', `${base}/nothing`]), 'invalid response status 404');
  });

  it('may take so long that a file changes meanwhile: its copy is not found again', async () => {
    const context = on.context({ Dockerfile: `FROM scratch\nCOPY f /f\nADD ${base}/slow /\n`, f: 'A' });
    whenSlow = () => writeFileSync(join(context, 'f'), 'B');
    await box.ok(['build', '-q', context]);
    whenSlow = () => {};
    writeFileSync(join(context, 'f'), 'A');
    const again = await box.run(['build', '--progress', 'plain', context]);
    expect(again.code, show(again)).toBe(0);
    expect(again.stderr).toMatch(/COPY f \/f\n#\d+ DONE/);
    const third = await box.run(['build', '--progress', 'plain', context]);
    expect(third.stderr).toMatch(/COPY f \/f\n#\d+ CACHED/);
  });

  it('are fetched by ADD once, and not believed without the checksum', async () => {
    const digest = createHash('sha256').update('payload').digest('hex');
    const add = (flags: string): string =>
      on.context({ Dockerfile: `FROM scratch\nADD ${flags} ${base}/file.txt /\n` });
    asked = [];
    expect(await result([add('')])).toEqual({ 'file.txt': 'payload' });
    expect(await result(['--no-cache', add('')])).toEqual({ 'file.txt': 'payload' });
    expect(asked.at(0)).toBe('/file.txt 200');
    expect(
      asked.slice(1).every((each) => each === '/file.txt 304'),
      asked.join(),
    ).toBe(true);
    expect(await result([add(`--checksum=sha256:${digest}`)])).toEqual({ 'file.txt': 'payload' });
    refused(await box.run(['build', add(`--checksum=sha256:${'0'.repeat(64)}`)]), 'digest mismatch');
  });
});

describe('build: outputs', () => {
  const files = { Dockerfile: 'FROM scratch\nCOPY f /d/f\n', f: 'F' };

  it('are a directory that no link leads out of', async () => {
    const out = mkdtempSync(join(box.directory, 'out-'));
    const outside = mkdtempSync(join(box.directory, 'outside-'));
    symlinkSync(outside, join(out, 'd'));
    const outcome = await on.build(files, ['-o', out]);
    expect(outcome.code, show(outcome)).toBe(0);
    expect(readdirSync(outside)).toEqual([]);
    expect(readFileSync(join(out, 'd', 'f'), 'utf8')).toBe('F');
  });

  it('are tars and image archives', async () => {
    const context = on.context(files);
    const at = (name: string): string => join(box.directory, name);
    const list = (name: string): string[] =>
      execFileSync('tar', ['-tf', at(name)], { encoding: 'utf8' })
        .trim()
        .split('\n');
    await box.ok(['build', '-q', '-o', `type=tar,dest=${at('root.tar')}`, context]);
    expect(list('root.tar')).toEqual(['d/', 'd/f']);
    await box.ok(['build', '-q', '-o', `type=oci,dest=${at('oci.tar')}`, '-t', 'x:1', context]);
    expect(list('oci.tar')).toEqual(expect.arrayContaining(['index.json', 'oci-layout']));
    await box.ok(['build', '-q', '-o', `type=docker,dest=${at('docker.tar')},name=y:2`, context]);
    expect(list('docker.tar')).toContain('manifest.json');
    // Nothing of this has a name in the store.
    expect(await box.ok(['images', '-q'])).toBe('');
    expect(await box.ok(['load', '-i', at('docker.tar')])).toContain('y:2');
  });

  it('go to standard output alone', async () => {
    const child = box.start(['build', '-q', '-o', '-', on.context(files)]);
    const chunks: Buffer[] = [];
    for await (const chunk of child.stdout) chunks.push(chunk);
    expect(execFileSync('tar', ['-t'], { input: Buffer.concat(chunks), encoding: 'utf8' })).toBe('d/\nd/f\n');
  });

  it('tell the image in files', async () => {
    const at = (name: string): string => join(box.directory, name);
    await box.ok([
      'build',
      '-q',
      '-t',
      'told',
      '--iidfile',
      at('iid'),
      '--metadata-file',
      at('metadata'),
      on.context(files),
    ]);
    const id = readFileSync(at('iid'), 'utf8');
    expect(await box.ok(['images', '-q', '--no-trunc', 'told'])).toBe(id);
    expect(JSON.parse(readFileSync(at('metadata'), 'utf8'))).toMatchObject({
      'containerimage.config.digest': id,
      'containerimage.descriptor': { platform: { os: 'linux' } },
      'image.name': 'docker.io/library/told:latest',
    });
  });

  it('pack layers as they are asked to', async () => {
    const path = join(box.directory, 'packed.tar');
    await box.ok([
      'build',
      '-q',
      '--no-cache',
      '-o',
      `type=oci,dest=${path},compression=zstd,compression-level=5`,
      on.context(files),
    ]);
    const blobs = execFileSync('tar', ['-xOf', path, '--wildcards', 'blobs/sha256/*'], {
      encoding: 'latin1',
    });
    expect(blobs).toContain('application/vnd.oci.image.layer.v1.tar+zstd');
  });
});

describe('build: caches of other machines', () => {
  const files = {
    Dockerfile: 'FROM scratch AS one\nCOPY f /f\nFROM scratch\nCOPY --from=one /f /g\n',
    f: 'F',
  };

  it('go to a directory, and come from there', async () => {
    const cache = join(box.directory, 'cache');
    const context = on.context(files);
    await box.ok([
      'build',
      '-q',
      '--no-cache',
      '-t',
      'first',
      '--cache-to',
      `type=local,dest=${cache},mode=max`,
      context,
    ]);
    await box.ok(['rmi', '-f', 'first']);
    await box.ok(['builder', 'prune', '-af']);
    const from = ['--cache-from', `type=local,src=${cache}`, '--cache-from', 'type=local,src=/nowhere'];
    const again = await box.run(['build', '--progress', 'plain', '-t', 'second', ...from, context]);
    expect(again.code, show(again)).toBe(0);
    expect(again.stderr.match(/ CACHED$/gm)).toHaveLength(2);
    // Neither the cache nor its image is left under a name.
    expect(await box.ok(['images', '--format', '{{.Repository}}'])).not.toContain('tinyrun-temporary');
  });

  it('are refused where their kind is not known', async () => {
    refused(await on.build(files, ['--cache-to', 'type=gha']), 'cache type "gha" is not supported');
    refused(await on.build(files, ['--cache-to', 'type=local']), 'dest is required');
  });

  it('do not stand in the way of layouts as contexts', async () => {
    const layout = join(box.directory, 'layout');
    await box.ok([
      'build',
      '-q',
      '-o',
      `type=oci,dest=${layout},tar=false`,
      '-t',
      'x:tag',
      on.context(files),
    ]);
    const main = on.context({ Dockerfile: 'FROM base\nCOPY <<E /h\nE\n' });
    expect(await result(['--build-context', `base=oci-layout://${layout}:tag`, main])).toEqual({
      g: 'F',
      h: '',
    });
  });
});

describe('build --check', () => {
  it('lists findings, and builds nothing', async () => {
    const context = on.context({ Dockerfile: 'FROM scratch AS Big\nCMD x\n' });
    const outcome = await box.run(['build', '--check', '-t', 'checked', context]);
    expect(outcome.code, show(outcome)).toBe(1);
    expect(outcome.stdout).toContain('Check complete, 2 warnings have been found!');
    expect(outcome.stdout).toContain(
      'WARNING: StageNameCasing - https://docs.docker.com/go/dockerfile/rule/',
    );
    expect(outcome.stdout).toContain('   2 | >>> CMD x');
    expect(await box.ok(['images', '-q', 'checked'])).toBe('');
    expect(await box.ok(['build', '--check', on.context({ Dockerfile: 'FROM scratch\n' })])).toBe(
      'Check complete, no warnings found.',
    );
  });

  it('is part of every build, and an error where the file says so', async () => {
    const warned = await on.build({ Dockerfile: 'FROM scratch AS Big\nCOPY <<E /x\nE\n' });
    expect(warned.code, show(warned)).toBe(0);
    expect(warned.stderr).toContain(
      " 1 warning found:\n - StageNameCasing: Stage name 'Big' should be lowercase (line 1)",
    );
    refused(
      await on.build({ Dockerfile: '# check=error=true\nFROM scratch AS Big\nCOPY <<E /x\nE\n' }),
      'lint violation found for rules: StageNameCasing',
    );
  });
});

async function freePort(): Promise<number> {
  const server = tcpServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function answers(port: number): Promise<void> {
  for (let attempt = 0; attempt < 100; attempt++) {
    const ok = await new Promise<boolean>((resolve) => {
      const socket = connect(port, '127.0.0.1', () => resolve(true));
      socket.once('error', () => resolve(false));
      socket.once('connect', () => socket.destroy());
    });
    if (ok) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error('the git daemon does not answer');
}
