import {
  chmodSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { BuildContext } from '../../../src/build/context.ts';
import { directoryContext } from '../../../src/build/context-directory.ts';
import { parseIgnore } from '../../../src/build/ignore.ts';

let top: string;
let root: string;
let statCacheFile: string;
beforeEach(() => {
  top = mkdtempSync(join(tmpdir(), 'tinyrun-context-'));
  root = join(top, 'context');
  statCacheFile = join(top, 'stats', 'x');
  mkdirSync(root);
});
afterEach(() => rmSync(top, { recursive: true, force: true }));

function write(path: string, content = path): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), content);
}

function open(ignore?: string): BuildContext {
  return directoryContext({
    directory: root,
    statCacheFile,
    ...(ignore === undefined ? {} : { ignore: parseIgnore(ignore) }),
  });
}

async function paths(ignore?: string): Promise<string[]> {
  return (await open(ignore).entries()).map(({ path }) => path);
}

async function selected(...patterns: readonly string[]): Promise<unknown> {
  const selections = await open().select(patterns);
  return selections.map(({ matches }) =>
    matches.map(({ path, asNamed, below }) => [path, asNamed, below.map((each) => each.path)]),
  );
}

describe('directoryContext() entries', () => {
  it('lists directories before their content, names sorted, links as links', async () => {
    for (const path of ['b/z', 'b/a', 'a.txt', 'b.txt']) write(path);
    symlinkSync('/etc', join(root, 'link'));
    const entries = await open().entries();
    expect(entries.map(({ path, type }) => `${type[0]} ${path}`)).toEqual([
      'f a.txt',
      'd b',
      'f b/a',
      'f b/z',
      'f b.txt',
      's link',
    ]);
    expect(entries.at(-1)).toMatchObject({ target: '/etc' });
  });

  it('does not enter what is ignored, unless something in it is taken back', async () => {
    for (const path of ['node_modules/x/y', 'src/a.ts', 'src/a.log', 'docs/deep/keep.md', 'docs/drop.md'])
      write(path);
    expect(await paths('node_modules\n**/*.log\ndocs\n!docs/deep/*.md\n')).toEqual([
      'docs',
      'docs/deep',
      'docs/deep/keep.md',
      'src',
      'src/a.ts',
    ]);
    expect(await paths('*\n!none\n')).toEqual([]);
  });

  it('refuses a name that is not UTF-8', async () => {
    writeFileSync(Buffer.concat([Buffer.from(`${root}/`), Buffer.from([0x61, 0xff])]), '');
    await expect(open().entries()).rejects.toThrow('its name is not UTF-8');
  });
});

describe('directoryContext() select', () => {
  it('finds files, directories with all below, and wildcards', async () => {
    for (const path of ['a.txt', 'b.txt', 'd/e/f', 'd/g.txt', 'd2/g.txt']) write(path);
    expect(await selected('a.txt', './d/', '*.txt', 'd*/g.txt', 'nothing*')).toEqual([
      [['a.txt', 'a.txt', []]],
      [['d', 'd', ['d/e', 'd/e/f', 'd/g.txt']]],
      [
        ['a.txt', 'a.txt', []],
        ['b.txt', 'b.txt', []],
      ],
      [
        ['d/g.txt', 'd/g.txt', []],
        ['d2/g.txt', 'd2/g.txt', []],
      ],
      [],
    ]);
  });

  it('takes the context itself, and nothing above it', async () => {
    write('a/b');
    expect(await selected('.', '/', '../..', 'a/../../a')).toEqual([
      [['', '', ['a', 'a/b']]],
      [['', '', ['a', 'a/b']]],
      [['', '', ['a', 'a/b']]],
      [['a', 'a', ['a/b']]],
    ]);
  });

  it('follows links inside the context only', async () => {
    write('real/file');
    write('etc/passwd', 'of the context');
    writeFileSync(join(top, 'outside'), 'secret');
    symlinkSync('real', join(root, 'link'));
    symlinkSync('../outside', join(root, 'up'));
    symlinkSync('/etc/passwd', join(root, 'absolute'));
    symlinkSync('loop', join(root, 'loop'));
    expect(await selected('link/file', 'link', 'absolute')).toEqual([
      [['real/file', 'link/file', []]],
      [['real', 'link', ['real/file']]],
      [['etc/passwd', 'absolute', []]],
    ]);
    for (const path of ['up', 'loop', 'absolute/x'])
      await expect(selected(path)).rejects.toThrow('not found');
  });

  it('says that .dockerignore hides what is not found', async () => {
    write('a.log');
    await expect(open('*.log').select(['a.log'])).rejects.toMatchObject({
      message: 'failed to compute cache key: "/a.log": not found',
      hint: expect.stringContaining('.dockerignore'),
    });
  });

  it('leaves out what --exclude names', async () => {
    for (const path of ['d/a.txt', 'd/b.go', 'd/e/c.txt', 'x.txt', 'x.go']) write(path);
    const [directory, files] = await open().select(['d', 'x.*'], { exclude: ['*.txt', 'e'] });
    expect(directory?.matches[0]?.below.map(({ path }) => path)).toEqual(['d/b.go']);
    expect(files?.matches.map(({ path }) => path)).toEqual(['x.go']);
  });

  it('keeps parents, from a pivot on', async () => {
    for (const path of ['a/b/c.txt', 'a/d.txt', 'e/f.txt', 'a/b/x.go']) write(path);
    const found = await open().select(['a/**/*.txt', 'a/./b/c.txt', 'e'], { parents: true });
    expect(found.map(({ matches }) => matches.map(({ asNamed, path }) => [asNamed, path]))).toEqual([
      [
        ['a/b/c.txt', 'a/b/c.txt'],
        ['a/d.txt', 'a/d.txt'],
      ],
      [['b/c.txt', 'a/b/c.txt']],
      [['e', 'e']],
    ]);
    await expect(open().select(['a/none'], { parents: true })).rejects.toThrow('"/a/none": not found');
  });
});

describe('directoryContext() digest', () => {
  it('depends on names, content and modes, and on nothing else', async () => {
    write('d/a', 'one');
    const digest = (): Promise<string> => open().digest(['d']);
    const before = await digest();
    utimesSync(join(root, 'd/a'), 1, 1);
    write('other');
    expect(await digest()).toBe(before);
    chmodSync(join(root, 'd/a'), 0o700);
    const executable = await digest();
    write('d/a', 'two');
    const changed = await digest();
    renameSync(join(root, 'd/a'), join(root, 'd/b'));
    expect(new Set([before, executable, changed, await digest()]).size).toBe(4);
  });

  it('does not read again what has not changed, and is not fooled by the same size and time', async () => {
    const old = new Date(Date.now() - 3600_000);
    write('a', 'one');
    utimesSync(join(root, 'a'), old, old);
    // Its change time is now: too young to be trusted.
    const first = open();
    const digest = await first.digest(['a']);
    await first.close();
    expect(() => readFileSync(statCacheFile)).toThrow('ENOENT');
    write('a', 'two');
    utimesSync(join(root, 'a'), old, old);
    expect(await open().digest(['a'])).not.toBe(digest);
  });

  it('believes what it wrote down', async () => {
    write('a', 'one');
    await new Promise((resolve) => setTimeout(resolve, 1600));
    const first = open();
    const digest = await first.digest(['a']);
    await first.close();
    const [head, line] = readFileSync(statCacheFile, 'utf8').split('\n');
    writeFileSync(statCacheFile, `${head}\n${'0'.repeat(64)}${line?.slice(64)}\n`);
    expect(await open().fileDigest('a')).toBe(`sha256:${'0'.repeat(64)}`);
    writeFileSync(statCacheFile, 'damaged\n');
    expect(await open().digest(['a'])).toBe(digest);
  });
});

describe('directoryContext() changed', () => {
  it('names what was digested and is no more as it was', async () => {
    for (const path of ['a', 'b', 'c']) write(path);
    const context = open();
    await context.digest(['a', 'b']);
    expect(context.changed()).toEqual([]);
    write('b', 'other');
    write('c', 'other');
    expect(context.changed()).toEqual(['b']);
  });

  it('takes a file that grows as it is when it is read', async () => {
    write('log', 'one');
    const context = open();
    await context.entries();
    write('log', 'one two');
    expect(await context.fileDigest('log')).toBe(await open().fileDigest('log'));
    expect(context.changed()).toEqual(['log']);
    rmSync(join(root, 'log'));
    symlinkSync('/etc/passwd', join(root, 'log'));
    expect(context.changed()).toEqual(['log']);
  });
});

describe('directoryContext() openFile', () => {
  it('gives the file that was walked, and none that took its place', async () => {
    write('d/a', 'one');
    mkdirSync(join(top, 'elsewhere'));
    writeFileSync(join(top, 'elsewhere', 'a'), 'secret');
    const context = open();
    await context.entries();
    const fd = context.openFile('d/a');
    const bytes = Buffer.alloc(8);
    expect(bytes.subarray(0, readSync(fd, bytes)).toString()).toBe('one');
    closeSync(fd);
    renameSync(join(root, 'd'), join(root, 'd-old'));
    symlinkSync(join(top, 'elsewhere'), join(root, 'd'));
    expect(() => context.openFile('d/a')).toThrow('it changed during the build');
    expect(() => context.openFile('../elsewhere/a')).toThrow('not found');
  });
});
