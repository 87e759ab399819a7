import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect } from 'vitest';
import { needing } from '../harness/requires.ts';
import { show } from '../harness/sandbox.ts';
import { type Seeded, seededSandbox } from '../harness/seed.ts';

const it = needing('root', 'overlay', 'nft', 'docker-registry', 'busybox-static');

let box: Seeded;
let own: string;
let shared: string;
beforeAll(async () => {
  box = await seededSandbox();
  // The store, too, is in a shared mount, as on every host with systemd: nothing of a container's root may get out.
  execFileSync('mount', ['--bind', box.directory, box.directory]);
  execFileSync('mount', ['--make-private', box.directory]);
  execFileSync('mount', ['--make-shared', box.directory]);
  own = join(box.directory, 'own');
  shared = join(box.directory, 'shared');
  for (const directory of [own, shared, join(shared, 'late')]) mkdirSync(directory);
  execFileSync('mount', ['-t', 'tmpfs', 'own', own]);
  execFileSync('mount', ['--make-private', own]);
  mkdirSync(join(own, 'deep'));
});
afterEach(async () => {
  const ids = await box.ok(['ps', '-aq']);
  if (ids !== '') await box.ok(['rm', '-f', ...ids.split('\n')]);
});
afterAll(async () => {
  execFileSync('umount', [own]);
  execFileSync('umount', ['-l', box.directory]);
  await box.dispose();
});

const mountsBelow = (directory: string): string[] =>
  readFileSync('/proc/self/mountinfo', 'utf8')
    .split('\n')
    .map((line) => line.split(' ')[4] ?? '')
    .filter((point) => point.startsWith(`${directory}/`));

const mounter = (volume: string, ...command: string[]) =>
  box.run([
    ...['run', '--rm', '--network', 'none', '--cap-add', 'SYS_ADMIN', '--security-opt', 'seccomp=unconfined'],
    ...['-v', volume, 'busybox', ...command],
  ]);

describe('propagation of a bind', () => {
  it.each(['shared', 'rshared'])('%s lets a mount of the container out, and nothing else', async (how) => {
    const before = mountsBelow(box.directory);
    const out = join(shared, 'late');
    const made = await mounter(`${shared}:/m:${how}`, 'mount', '-t', 'tmpfs', 'x', '/m/late');
    expect(made.code, show(made)).toBe(0);
    expect(mountsBelow(box.directory)).toEqual([...before, out]);
    execFileSync('umount', [out]);
  });

  it.each(['', ':private', ':rprivate', ':slave', ':rslave'])('"%s" lets nothing out', async (how) => {
    const before = mountsBelow(box.directory);
    const made = await mounter(`${shared}:/m${how}`, 'mount', '-t', 'tmpfs', 'x', '/m/late');
    expect(made.code, show(made)).toBe(0);
    expect(mountsBelow(box.directory)).toEqual(before);
  });

  it.each([
    ['rslave', 'from the host'],
    ['rshared', 'from the host'],
    ['rprivate', ''],
  ])('%s shows what is mounted on the host later: "%s"', async (how, seen) => {
    const name = `late-${how}`;
    await box.ok([
      'run',
      '-d',
      '--name',
      name,
      '--network',
      'none',
      '-v',
      `${shared}:/m:${how}`,
      'busybox',
      'sh',
      '-c',
      'while [ ! -e /m/go ]; do sleep 0.05; done; cat /m/late/file 2>/dev/null; rm /m/go',
    ]);
    const late = join(shared, 'late');
    execFileSync('mount', ['-t', 'tmpfs', 'x', late]);
    try {
      writeFileSync(join(late, 'file'), 'from the host');
      writeFileSync(join(shared, 'go'), '');
      await box.ok(['wait', name]);
      expect(await box.ok(['logs', name])).toBe(seen);
    } finally {
      execFileSync('umount', [late]);
    }
  });

  it('is refused in Docker’s words where the source is not shared', async () => {
    const source = join(own, 'deep');
    for (const [how, kind] of [
      ['shared', 'shared'],
      ['rshared', 'shared'],
      ['slave', 'shared or slave'],
      ['rslave', 'shared or slave'],
    ]) {
      const outcome = await mounter(`${source}:/m:${how}`, 'true');
      expect(outcome.code).toBe(125);
      expect(outcome.stderr).toContain(`path ${source} is mounted on ${own} but it is not a ${kind} mount`);
    }
  });
});

describe('a tmpfs', () => {
  it('is as open as the directory it covers', async () => {
    const paths = ['/root', '/tmp', '/new'];
    const flags = paths.flatMap((path) => ['--tmpfs', path]);
    const modes = await box.ok([
      'run',
      '--rm',
      '--network',
      'none',
      ...flags,
      'busybox',
      'stat',
      '-c',
      '%a',
      ...paths,
    ]);
    expect(modes).toBe('700\n1777\n1777');
  });

  it('that is read-only leaves the volume in it writable', async () => {
    const args = ['--mount', 'type=tmpfs,dst=/a,readonly', '-v', `${own}:/a/b`, 'busybox', 'sh', '-c'];
    const outcome = await box.run([
      'run',
      '--rm',
      '--network',
      'none',
      ...args,
      'touch /a/b/x && echo ok; touch /a/x',
    ]);
    expect(outcome.stdout, show(outcome)).toBe('ok\n');
    expect(outcome.stderr).toContain('Read-only file system');
  });
});
