import { describe, expect, it } from 'vitest';
import { parseGitSource } from '../../../src/build/git-url.ts';

describe('parseGitSource()', () => {
  it.each<[string, object]>([
    ['https://host/a/b.git', { remote: 'https://host/a/b.git' }],
    ['https://host/b.git#v1', { remote: 'https://host/b.git', ref: 'v1' }],
    ['https://host/b.git#main:docs/x', { ref: 'main', subdir: 'docs/x' }],
    ['https://host/b.git#:docs', { subdir: 'docs' }],
    ['git@host:a/b.git#v1', { remote: 'git@host:a/b.git', ref: 'v1' }],
    ['ssh://git@host:22/b', { remote: 'ssh://git@host:22/b' }],
    ['git://host/b', { remote: 'git://host/b' }],
    ['github.com/a/b.git', { remote: 'https://github.com/a/b.git' }],
    [
      'https://host/b.git?tag=v1&subdir=x&checksum=abcdef1&keep-git-dir=1&submodules=false',
      { ref: 'refs/tags/v1', subdir: 'x', checksum: 'abcdef1', keepGitDir: true, submodules: false },
    ],
    ['https://host/b.git?branch=dev', { ref: 'refs/heads/dev' }],
    // Cannot leave the repository (CVE-2026-33748).
    ['https://host/b.git#main:../../etc', { subdir: 'etc' }],
    ['https://host/b.git#main:/a/../../b', { subdir: 'b' }],
    ['https://host/b.git#main:%2e%2e/x', { subdir: 'x' }],
  ])('reads %s', (text, expected) => {
    expect(parseGitSource(text)).toMatchObject(expected);
  });

  it.each([
    './dir',
    '../dir',
    'dir/sub',
    '/abs/dir.git',
    'https://host/file.tar.gz',
    'file:///repo.git',
    'ext::sh -c x',
    'fd::3',
    'host:path',
    '-u@host:x',
    '--upload-pack=x',
    'https://-oProxyCommand=x/b.git',
    'ssh://-oProxyCommand=x/b.git',
    'user@-host:x',
    'user@host:-x',
  ])('is no repository: %s', (text) => {
    expect(parseGitSource(text)).toBeUndefined();
  });

  it.each([
    // CVE-2019-13139: an option in the place of a ref.
    'https://host/b.git#--upload-pack=sh',
    'https://host/b.git#-x',
    'https://host/b.git#a..b',
    'https://host/b.git#a b',
    'https://host/b.git#+refs/heads/*',
    'https://host/b.git?ref=--exec=x',
    'https://host/b.git#@{-1}',
    'https://host/b.git?tag=a&branch=b',
    'https://host/b.git?ref=a#b',
    'https://host/b.git?what=a',
    'https://host/b.git?checksum=--x',
    'https://host/b.git?submodules=some',
  ])('refuses %j', (text) => {
    expect(() => parseGitSource(text)).toThrow(expect.objectContaining({ kind: 'invalid' }));
  });
});
