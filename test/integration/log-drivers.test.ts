import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect } from 'vitest';
import { needing } from '../harness/requires.ts';
import { type Seeded, seededSandbox } from '../harness/seed.ts';

const it = needing('root', 'overlay', 'nft', 'docker-registry', 'busybox-static');

let box: Seeded;
beforeAll(async () => {
  box = await seededSandbox();
});
afterEach(async () => {
  const ids = await box.ok(['ps', '-aq']);
  if (ids !== '') await box.ok(['rm', '-f', ...ids.split('\n')]);
});
afterAll(() => box.dispose());

const run = (name: string, script: string, ...flags: string[]) =>
  box.run(['run', '--name', name, '--network', 'none', ...flags, 'busybox', 'sh', '-c', script]);
const LOCAL = ['--log-driver', 'local'];

async function logDirectory(name: string): Promise<string> {
  return join(box.root, 'containers', await box.ok(['inspect', '--format', '{{.Id}}', name]), 'log');
}

describe('the log driver local', () => {
  it('keeps both streams, times, long lines and what has no newline', async () => {
    const script = 'echo one; echo two >&2; head -c 40000 /dev/zero | tr "\\0" x; echo; printf end';
    await run('speaks', script, ...LOCAL);
    const { stdout, stderr } = await box.run(['logs', 'speaks']);
    expect(stdout).toBe(`one\n${'x'.repeat(40_000)}\nend`);
    expect(stderr).toBe('two\n');
    expect(await box.ok(['logs', '-t', '-n', '1', 'speaks'])).toMatch(
      /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z end$/,
    );
    const [first = ''] = readFileSync(join(await logDirectory('speaks'), 'local.log'), 'utf8').split('\n');
    expect(first).toMatch(/^\d{19} o one$/);
    expect(await box.ok(['inspect', '--format', '{{.HostConfig.LogConfig.Type}}', 'speaks'])).toBe('local');
  });

  it('is followed and rotated', async () => {
    const limits = ['--log-opt', 'max-size=20k', '--log-opt', 'max-file=3'];
    await run('turns', 'for i in $(seq 1 5000); do echo line $i; done', ...LOCAL, ...limits);
    const directory = await logDirectory('turns');
    const files = readdirSync(directory).sort();
    expect(files).toEqual(['local.log', 'local.log.1', 'local.log.2']);
    for (const file of files.slice(1))
      expect(statSync(join(directory, file)).size).toBeLessThan(20_480 + 131_072);
    const lines = (await box.ok(['logs', 'turns'])).split('\n');
    expect(lines.at(-1)).toBe('line 5000');
    expect(lines).toEqual(lines.map((_, at) => `line ${5001 - lines.length + at}`));
    await box.ok([
      'run',
      '-d',
      '--name',
      'late',
      '--network',
      'none',
      ...LOCAL,
      'busybox',
      'sh',
      '-c',
      'echo a; sleep 1; echo b',
    ]);
    expect(await box.ok(['logs', '-f', 'late'])).toBe('a\nb');
  });
});

describe('--log-opt', () => {
  it('gives every entry labels, variables and a tag', async () => {
    const chosen = [
      '--log-opt',
      'labels=app',
      '--log-opt',
      'env-regex=^K',
      '--log-opt',
      'tag={{.Name}}/{{.ImageName}}',
    ];
    await run(
      'tagged',
      'echo hi',
      '-l',
      'app=web "1"',
      '-l',
      'other=x',
      '-e',
      'KEY=v',
      '-e',
      'NO=w',
      ...chosen,
    );
    const text = readFileSync(join(await logDirectory('tagged'), 'json.log'), 'utf8');
    expect(JSON.parse(text)).toMatchObject({
      log: 'hi\n',
      attrs: { app: 'web "1"', KEY: 'v', tag: 'tagged/busybox' },
    });
    expect(await box.ok(['logs', '--details', 'tagged'])).toMatch(/KEY=v.* hi$/);
  });

  it('that is too long is refused before anything runs', async () => {
    const outcome = await run('long', 'true', '-l', `a=${'x'.repeat(3000)}`, '--log-opt', 'labels=a');
    expect(outcome.code).toBe(125);
    expect(outcome.stderr).toContain('have more than 2048 bytes');
  });
});

describe('the log driver journald', () => {
  it('says where there is no journald', async () => {
    if (existsSync('/run/systemd/journal/socket')) return;
    const outcome = await run('journal', 'true', '--log-driver', 'journald');
    expect([outcome.code, outcome.stderr.split('\n')[0]]).toEqual([
      125,
      'tinyrun: Cannot log to journald: there is no /run/systemd/journal/socket',
    ]);
  });
});
