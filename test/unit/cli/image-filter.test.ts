import { expect, test } from 'vitest';
import { historyFields } from '../../../src/cli/commands/history.ts';
import { parseListen } from '../../../src/cli/commands/registry-serve.ts';
import { filterPair } from '../../../src/cli/filter-pair.ts';
import { imageFilter } from '../../../src/cli/image-filter.ts';
import type { StoredImage } from '../../../src/engine/index.ts';
import { parseDigest } from '../../../src/oci/digest.ts';

const digest = (digit: string) => parseDigest(`sha256:${digit.repeat(64)}`);
const NOW = Date.parse('2024-03-01T00:00:00Z');
const KEYS = ['before', 'dangling', 'label', 'label!', 'reference', 'since', 'until'];

function image(digit: string, created: string, references: string[], Labels = {}): StoredImage {
  const manifest = {
    mediaType: '',
    config: { mediaType: '', digest: digest(digit), size: 0 },
    layers: [],
  };
  return {
    id: digest(digit),
    references,
    repoDigests: [],
    manifestDigest: digest(digit),
    targetDigest: digest(digit),
    config: {
      architecture: 'amd64',
      os: 'linux',
      config: { Labels },
      rootfs: { type: 'layers', diff_ids: [] },
      history: [],
    },
    manifest,
    created,
    size: 0,
  };
}

const all = [
  image('a', '2024-01-01T00:00:00Z', ['docker.io/library/old:1'], { stage: 'test', team: 'x' }),
  image('b', '2024-02-01T00:00:00Z', ['docker.io/library/mid:latest'], { stage: 'test' }),
  image('c', '2024-02-29T23:00:00Z', [`docker.io/library/new@${digest('c')}`]),
];

test.each([
  [['dangling=true'], 'c'],
  [['dangling=false'], 'ab'],
  [['label=stage'], 'ab'],
  [['label=stage=test', 'label=team=x'], 'a'],
  [['label!=stage'], 'c'],
  [['label=constructor'], ''],
  [['before=mid'], 'a'],
  [['since=old:1', 'before=cccc'], 'b'],
  [['until=24h'], 'ab'],
  [['until=2024-01-15'], 'a'],
])('imageFilter() %j', (texts, ids) => {
  const filter = imageFilter(texts.map(filterPair), KEYS);
  const found = all.filter((one) => filter.matches(one, { all, now: NOW }));
  expect(found.map(({ id }) => id.at(-1)).join('')).toBe(ids);
});

test.each([
  ['busy*', 'busybox', true],
  ['busybox:1.*', 'busybox', true],
  ['busybox:2', 'busybox', false],
  ['*', 'host/busybox', false],
  ['h?st/[a-c]usybox', 'host/busybox', true],
  ['a.c', 'abc', false],
])('imageFilter() of the name pattern %s', (pattern, repository, matches) => {
  expect(imageFilter([['reference', pattern]], KEYS).matchesName(repository, '1.36')).toBe(matches);
});

test('imageFilter() refuses keys that the command does not know', () => {
  expect(() => imageFilter([['color', 'red']], KEYS)).toThrow("invalid filter 'color'");
  expect(() =>
    imageFilter([['until', 'soon']], KEYS).matches(all[0] as StoredImage, { all, now: NOW }),
  ).toThrow("invalid filter 'until=soon'");
});

test('historyFields() shortens commands and names only the newest step', () => {
  const step = {
    createdBy: `RUN\t${'x'.repeat(60)}`,
    comment: '',
    size: 1500,
    created: '2024-02-29T00:00:00Z',
  };
  const short = historyFields({ now: NOW, truncate: true, human: true })(step);
  expect(short).toMatchObject({ ID: '<missing>', CreatedSince: '24 hours ago', Size: '1.5kB' });
  expect([...short.CreatedBy]).toHaveLength(45);
  const long = historyFields({ now: NOW, truncate: false, human: false })({ ...step, id: digest('a') });
  expect(long).toMatchObject({ ID: digest('a'), CreatedSince: step.created, Size: '1500' });
  expect(long.CreatedBy).toBe(`RUN ${'x'.repeat(60)}`);
});

test.each([
  ['127.0.0.1:5000', '127.0.0.1', 5000],
  [':5000', '0.0.0.0', 5000],
  ['[::1]:0', '::1', 0],
  ['8080', '127.0.0.1', 8080],
])('parseListen() of %s', (text, host, port) => {
  expect(parseListen(text)).toEqual({ host, port });
});

test.each(['', 'host', 'a:b', '::1:5000', 'host:99999'])('parseListen() refuses "%s"', (text) => {
  expect(() => parseListen(text)).toThrow('expected ADDRESS:PORT');
});
