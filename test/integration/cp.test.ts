import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { file, hardLink, symlink, tar } from '../fixtures/tars.ts';
import { needing } from '../harness/requires.ts';
import { type Outcome, show } from '../harness/sandbox.ts';
import { type Seeded, seededSandbox } from '../harness/seed.ts';

const it = needing('root', 'overlay', 'nft', 'docker-registry', 'busybox-static');

let box: Seeded;
let here: string;
let count = 0;

beforeAll(async () => {
  box = await seededSandbox();
  mkdirSync(join(box.directory, 'volume'));
  writeFileSync(join(box.directory, 'volume', 'shared'), 'shared');
  const options = ['--network', 'none', '-v', `${box.directory}/volume:/volume`];
  await box.ok(['run', '-d', '--name', 'live', ...options, 'busybox', 'sleep', '1000']);
  await box.ok([
    'run',
    '--name',
    'dead',
    ...options,
    'busybox',
    'sh',
    '-c',
    'mkdir /made; echo hi >/made/file',
  ]);
});

afterAll(async () => {
  await box.dispose();
});

/** A new directory of the host. */
function scratch(): string {
  here = join(box.directory, `scratch-${count++}`);
  mkdirSync(here);
  return here;
}

const cp = (...args: string[]): Promise<Outcome> => box.run(['cp', ...args], { cwd: here });
const inside = (script: string): Promise<string> => box.ok(['exec', 'live', 'sh', '-c', script]);

async function copied(...args: string[]): Promise<void> {
  const outcome = await cp(...args);
  if (outcome.code !== 0) throw new Error(`cp ${args.join(' ')}: ${show(outcome)}`);
  expect(outcome.stdout + outcome.stderr).toBe('');
}

async function refused(error: string, ...args: string[]): Promise<void> {
  const outcome = await cp(...args);
  expect(outcome.stderr).toContain(error);
  expect(outcome.code).toBe(1);
}

describe('cp to a container', () => {
  it('follows the rules for a file', async () => {
    writeFileSync(join(scratch(), 'file'), 'one');
    await inside('mkdir -p /to/directory; echo old >/to/existing');
    await copied('file', 'live:/to/new');
    await copied('file', 'live:/to/directory');
    await copied('./file', 'live:/to/directory/');
    await copied('file', 'live:/to/existing');
    await copied('file', 'live:relative');
    expect(await inside('cat /to/new /to/directory/file /to/existing /relative')).toBe('oneoneoneone');
    await refused('no such directory', 'file', 'live:/to/missing/');
    await refused('not a directory', 'file', 'live:/to/existing/');
    await refused('Could not find the file /nowhere in container live', 'file', 'live:/nowhere/file');
    await refused('lstat ', 'missing', 'live:/to');
    await refused('not a directory', 'file/', 'live:/to');
  });

  it('follows the rules for a directory', async () => {
    mkdirSync(join(scratch(), 'src/sub'), { recursive: true });
    writeFileSync(join(here, 'src/sub/file'), 'deep');
    await inside('mkdir -p /d/existing; touch /d/file');
    await copied('src', 'live:/d/new');
    await copied('src', 'live:/d/existing');
    await copied('src/.', 'live:/d/existing');
    await copied('src/', 'live:/d/slash/');
    const list = 'cd /d; find . -type f | sort';
    expect(await inside(list)).toBe(
      ['./existing/src/sub/file', './existing/sub/file', './file', './new/sub/file', './slash/sub/file'].join(
        '\n',
      ),
    );
    await refused('cannot copy directory', 'src', 'live:/d/file');
    writeFileSync(join(here, 'sub'), 'a file');
    await refused('cannot overwrite directory "sub" with non-directory "sub"', 'sub', 'live:/d/existing');
    mkdirSync(join(here, 'existing'));
    await inside('touch /d/existing/existing');
    await refused(
      'cannot overwrite non-directory "existing" with directory "existing/"',
      'existing',
      'live:/d/existing',
    );
  });

  it('gives all to root, and with -a keeps owners and rights', async () => {
    writeFileSync(join(scratch(), 'owned'), '');
    await box.host(['chown', '1234:567', join(here, 'owned')]);
    chmodSync(join(here, 'owned'), 0o4711);
    await copied('owned', 'live:/root-owned');
    await copied('-a', 'owned', 'live:/as-it-was');
    expect(await inside('stat -c "%u:%g %a" /root-owned /as-it-was')).toBe('0:0 4711\n1234:567 4711');
  });

  it('copies a link as it is, or with -L what it leads to', async () => {
    writeFileSync(join(scratch(), 'target'), 'content');
    symlinkSync('target', join(here, 'link'));
    await copied('link', 'live:/link1');
    await copied('-L', 'link', 'live:/link2');
    await copied('-L', 'link', 'live:/volume');
    expect(await inside('readlink /link1; cat /link2 /volume/link')).toBe('target\ncontentcontent');
  });

  it('writes where a link in the container leads, inside of it', async () => {
    writeFileSync(join(scratch(), 'file'), 'through');
    await inside(
      'mkdir -p /real; ln -s /real /toreal; ln -s ../../../../../../real/new /dangling; ln -s /etc/none/x /nowhere2',
    );
    await copied('file', 'live:/toreal');
    await copied('file', 'live:/dangling');
    expect(await inside('cat /real/file /real/new; readlink /dangling')).toBe(
      'throughthrough../../../../../../real/new',
    );
    await refused('no such directory', 'file', 'live:/nowhere2/');
  });

  it('reaches volumes, in containers that run and that do not', async () => {
    writeFileSync(join(scratch(), 'file'), 'v');
    await copied('file', 'live:/volume/from-live');
    await copied('file', 'dead:/volume/from-dead');
    expect(readFileSync(join(box.directory, 'volume/from-live'), 'utf8')).toBe('v');
    expect(readFileSync(join(box.directory, 'volume/from-dead'), 'utf8')).toBe('v');
  });

  it('writes to a container that does not run, also one that never did', async () => {
    writeFileSync(join(scratch(), 'file'), 'early');
    await box.ok([
      'create',
      '--name',
      'never',
      '--network',
      'none',
      'busybox',
      'cat',
      '/etc/file',
      '/made/file',
    ]);
    await copied('file', 'never:/etc/file');
    await copied('dead:/made', 'never:/');
    expect(await box.ok(['start', '-a', 'never'])).toBe('earlyhi');
  });

  it('says why it cannot write', async () => {
    writeFileSync(join(scratch(), 'file'), '');
    const options = ['--network', 'none', '--read-only', '-v', `${box.directory}/volume:/ro:ro`];
    await box.ok(['run', '-d', '--name', 'readonly', ...options, 'busybox', 'sleep', '1000']);
    await refused('container rootfs is marked read-only', 'file', 'readonly:/file');
    await refused('read-only', 'file', 'readonly:/ro/file');
    await refused('No such container: nobody', 'file', 'nobody:/x');
    await refused('must specify at least one container source', 'file', './other');
    await refused('source can not be empty', '', 'live:/x');
  });
});

describe('cp from a container', () => {
  it('follows the rules', async () => {
    scratch();
    await inside(
      'mkdir -p /from/sub; echo -n x >/from/file; echo -n y >/from/sub/deep; ln -s file /from/link',
    );
    mkdirSync(join(here, 'existing'));
    await copied('live:/from/file', 'new');
    await copied('live:from/file', 'existing');
    await copied('live:/from', 'tree');
    await copied('live:/from', 'existing');
    await copied('live:/from/.', 'existing');
    await copied('live:/from/link', 'link');
    await copied('-L', 'live:/from/link', 'followed');
    expect(readFileSync(join(here, 'new'), 'utf8')).toBe('x');
    expect(readdirSync(join(here, 'existing')).sort()).toEqual(['file', 'from', 'link', 'sub']);
    expect(readFileSync(join(here, 'tree/sub/deep'), 'utf8')).toBe('y');
    expect(readlinkSync(join(here, 'link'))).toBe('file');
    expect(readFileSync(join(here, 'followed'), 'utf8')).toBe('x');
    await refused('Could not find the file /from/none in container live', 'live:/from/none', '.');
    await refused('invalid output path: directory', 'live:/from/file', 'none/x');
    await refused('cannot copy directory', 'live:/from', 'new');
    await refused('no such directory', 'live:/from/file', 'missing/');
  });

  it('gives all to the user without special rights, and with -a keeps both', async () => {
    scratch();
    await inside('touch /su; chown 12:34 /su; chmod 6755 /su');
    await copied('live:/su', 'plain');
    await copied('-a', 'live:/su', 'kept');
    const [plain, kept] = [statSync(join(here, 'plain')), statSync(join(here, 'kept'))];
    expect([plain.uid, plain.gid, plain.mode & 0o7777]).toEqual([0, 0, 0o755]);
    expect([kept.uid, kept.gid, kept.mode & 0o7777]).toEqual([12, 34, 0o6755]);
  });

  it('reads volumes and a container that does not run', async () => {
    scratch();
    await copied('dead:/volume/shared', 'a');
    await copied('live:/volume/shared', 'b');
    await copied('dead:/made/.', '.');
    expect(['a', 'b', 'file'].map((name) => readFileSync(join(here, name), 'utf8'))).toEqual([
      'shared',
      'shared',
      'hi\n',
    ]);
  });

  it('copies between containers', async () => {
    scratch();
    await inside('mkdir -p /between/x; echo -n from-live >/between/x/f; ln /between/x/f /between/g');
    await copied('live:/between', 'dead:/arrived');
    await copied('dead:/arrived/g', 'live:/came-back');
    expect(await inside('cat /came-back')).toBe('from-live');
  });
});

describe('cp with a tar', () => {
  it('writes one to stdout and reads one from stdin, also compressed', async () => {
    scratch();
    await inside('mkdir -p /t/a; echo -n t >/t/a/f; chown 5:6 /t/a/f');
    const script = `"${box.binary}" cp live:/t - | tee t.tar | gzip | "${box.binary}" cp - live:/volume`;
    const piped = await box.host(['sh', '-ec', `cd ${here}; ${script}; tar tf t.tar`]);
    expect(piped.stdout).toBe('t/\nt/a/\nt/a/f\n');
    expect(await inside('cat /volume/t/a/f; stat -c " %u:%g" /volume/t/a/f')).toBe('t 5:6');
  });

  it('refuses what is no directory, and what is no tar', async () => {
    scratch();
    const to = (path: string, input: Uint8Array) => box.run(['cp', '-', path], { input });
    await inside('touch /plain');
    const archive = tar(file('f', 'x'));
    expect((await to('live:/plain', archive)).stderr).toContain(
      'destination "live:/plain" must be a directory',
    );
    const bad = await to('live:/volume', Buffer.from('no tar at all'.repeat(100)));
    expect(bad.code).toBe(1);
    expect(bad.stderr).toContain('Cannot copy: ');
    const leaving = await to('live:/volume', tar(file('../out', 'x')));
    expect(leaving.stderr).toContain('leaves the layer');
  });

  it('does not give whiteouts a meaning', async () => {
    scratch();
    const archive = tar(file('.wh.keep', 'just a name'));
    expect((await box.run(['cp', '-', 'live:/tmp'], { input: archive })).code).toBe(0);
    expect(await inside('cat /tmp/.wh.keep')).toBe('just a name');
  });
});

describe('cp and a hostile container', () => {
  const canary = (): string => readFileSync(join(box.directory, 'canary/secret'), 'utf8');

  it('reads and writes nothing outside while links are swapped', async () => {
    scratch();
    mkdirSync(join(box.directory, 'canary'));
    writeFileSync(join(box.directory, 'canary/secret'), 'outside');
    const target = join(box.directory, 'canary');
    // In the container the canary's directory exists, too: what is read or written through the link is the container's own.
    const script = [
      `mkdir -p ${target} /race/a; echo -n inside >${target}/secret; echo -n inside >/race/a/secret`,
      `ln -s ${target} /race/link`,
      'while [ ! -e /race/stop ]; do mv /race/a /race/b; mv /race/link /race/a; mv /race/a /race/link; mv /race/b /race/a; done',
    ];
    await box.ok(['exec', '-d', 'live', 'sh', '-c', script.join('; ')]);
    writeFileSync(join(here, 'secret'), 'written');
    let done = 0;
    for (let round = 0; round < 8; round += 1) {
      const out = await cp('live:/race/a/secret', `out-${round}`);
      if (existsSync(join(here, `out-${round}`))) {
        expect(readFileSync(join(here, `out-${round}`), 'utf8')).toMatch(/^(inside|written)$/);
        done += 1;
      }
      expect(out.stderr).not.toContain('outside');
      await cp('secret', 'live:/race/a/secret');
      await cp('live:/race/.', `tree-${round}`);
      expect(canary()).toBe('outside');
    }
    await inside('touch /race/stop');
    expect(done).toBeGreaterThan(0);
    expect(statSync(target).mode & 0o777).toBe(0o755);
    expect(readdirSync(target)).toEqual(['secret']);
    const trees = readdirSync(here).filter((name) => name.startsWith('tree-'));
    for (const tree of trees) {
      const secret = join(here, tree, 'a/secret');
      const parent = lstatSync(join(here, tree, 'a'), { throwIfNoEntry: false });
      if (parent?.isDirectory() === true) expect(readFileSync(secret, 'utf8')).toMatch(/^(inside|written)$/);
    }
  });

  it('follows no link of /proc, not even with the host’s processes in sight', async () => {
    scratch();
    await box.ok([
      'run',
      '-d',
      '--name',
      'seeing',
      '--network',
      'none',
      '--pid',
      'host',
      'busybox',
      'sleep',
      '1000',
    ]);
    await box.ok([
      'exec',
      'seeing',
      'sh',
      '-c',
      'ln -s /proc/self/root /r; ln -s /proc/self/fd/4 /f; ln -s /proc/1/root /one',
    ]);
    for (const path of ['/r/etc/hostname', '/f/', '/one/etc', '/proc/1/root/etc']) {
      const { code } = await cp(`seeing:${path}`, 'out');
      expect([path, code]).toEqual([path, 1]);
    }
    expect(existsSync(join(here, 'out'))).toBe(false);
  });

  it('mounts volumes of a container that does not run inside of it only', async () => {
    scratch();
    const target = join(box.directory, 'canary');
    const mount = ['-v', `${box.directory}/volume:/place/of/volume`];
    await box.ok(['run', '--name', 'moving', '--network', 'none', ...mount, 'busybox', 'true']);
    // The next start would mount elsewhere: what lies where the volume was leads out of the container.
    writeFileSync(join(here, 'file'), 'moved');
    const archive = tar(symlink('place', `../../../../../../..${target}/..`));
    const upper = join(
      box.root,
      'containers',
      await box.ok(['inspect', '--format', '{{.Id}}', 'moving']),
      'upper',
    );
    rmSync(join(upper, 'place'), { recursive: true });
    expect((await box.run(['cp', '-', 'moving:/'], { input: archive })).code).toBe(0);
    await refused('Could not find the file', 'file', 'moving:/place/of/volume/file');
    await refused('Could not find the file', 'moving:/place/canary/secret', '.');
    expect(readdirSync(target)).toEqual(['secret']);
    expect(canary()).toBe('outside');
  });

  it('runs no program of the container', async () => {
    scratch();
    await inside(
      'for p in tar gzip xz unpigz zstd; do printf "#!/bin/sh\\ntouch /ran" >/bin/$p; chmod 755 /bin/$p; done 2>/dev/null; mkdir -p /lib; touch /lib/libnss_files.so.2',
    );
    await copied('live:/lib', 'lib');
    const zipped = await box.host(['sh', '-c', `cd ${here}; tar cz lib | "${box.binary}" cp - live:/volume`]);
    expect(zipped.code).toBe(0);
    expect(await inside('ls /ran 2>&1 || true')).toContain('No such file');
  });

  it('lets a tar on the host’s side lead nowhere else', async () => {
    scratch();
    mkdirSync(join(here, 'victim'));
    writeFileSync(join(here, 'victim/file'), 'as it was');
    mkdirSync(join(here, 'out'));
    symlinkSync('../victim', join(here, 'out/link'));
    // A volume that the container fills: an entry below a link that the host has.
    await inside('mkdir -p /evil/link; echo -n bad >/evil/link/file');
    await refused('cannot overwrite non-directory "link"', 'live:/evil/.', 'out');
    expect(readFileSync(join(here, 'victim/file'), 'utf8')).toBe('as it was');
  });

  it('writes a tar’s links inside the container only', async () => {
    scratch();
    const archive = tar(
      symlink('l', join(box.directory, 'canary')),
      hardLink('h', '../../../../etc/passwd'),
      file('l/secret', 'overwritten'),
    );
    const { code } = await box.run(['cp', '-', 'live:/tmp'], { input: archive });
    expect(code).toBe(1);
    const second = tar(symlink('m', join(box.directory, 'canary')), file('m/secret', 'overwritten'));
    await box.run(['cp', '-', 'live:/tmp'], { input: second });
    expect(canary()).toBe('outside');
    rmSync(join(here), { recursive: true });
  });
});
