import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { changesIn } from '../../../src/engine/diff.ts';

let top: string;
beforeEach(() => {
  top = mkdtempSync(join(tmpdir(), 'tinyrun-diff-'));
});
afterEach(() => {
  rmSync(top, { recursive: true });
});

/** @param files paths; `/` at the end: a directory, `->`: a link */
function tree(name: string, ...files: string[]): number {
  mkdirSync(join(top, name));
  for (const file of files) {
    const [path = '', target] = file.split('->');
    mkdirSync(join(top, name, path.endsWith('/') ? path : dirname(path)), { recursive: true });
    if (target !== undefined) symlinkSync(target, join(top, name, path));
    else if (!path.endsWith('/')) writeFileSync(join(top, name, path), '');
  }
  return openSync(join(top, name), 'r');
}

function changes(from: { upper: string[]; lower: string[]; merged?: string[] }, mounted: string[] = []) {
  const views = {
    upper: tree('upper', ...from.upper),
    lower: tree('lower', ...from.lower),
    merged: tree('merged', ...(from.merged ?? [...from.upper, ...from.lower])),
  };
  try {
    return changesIn(views, new Set(mounted)).map(({ kind, path }) => `${kind} ${path}`);
  } finally {
    for (const fd of Object.values(views)) closeSync(fd);
  }
}

test('changesIn() tells what is new from what is changed', () => {
  const lower = ['etc/passwd', 'etc/group', 'bin/sh'];
  expect(changes({ upper: ['etc/passwd', 'etc/new', 'var/a/b'], lower })).toEqual([
    'C /etc',
    'A /etc/new',
    'C /etc/passwd',
    'A /var',
    'A /var/a',
    'A /var/a/b',
  ]);
});

test('changesIn() leaves out what is only there to be mounted on', () => {
  const upper = ['etc/hosts', 'proc/', 'dev/console', 'srv/data/', 'tmp/x'];
  expect(
    changes({ upper, lower: ['etc/passwd', 'srv/x', 'tmp/'] }, ['/etc/hosts', '/proc', '/dev', '/srv/data']),
  ).toEqual(['C /tmp', 'A /tmp/x']);
});

test('changesIn() finds what a directory that was made anew hides', () => {
  expect(changes({ upper: ['d/new'], lower: ['d/old', 'd/kept'], merged: ['d/new', 'd/kept'] })).toEqual([
    'C /d',
    'A /d/new',
    'D /d/old',
  ]);
});

test('changesIn() follows no link of the image', () => {
  expect(changes({ upper: ['lib/x'], lower: ['lib->/usr'], merged: ['lib/x'] })).toEqual([
    'C /lib',
    'A /lib/x',
  ]);
});
