import { describe, expect, test } from 'vitest';
import { containerFilter } from '../../../src/cli/container-filter.ts';
import type { ContainerSummary, StoredImage } from '../../../src/engine/index.ts';

const image = (id: string, name: string, layers: string[]): StoredImage =>
  ({
    id: `sha256:${id.repeat(64)}`,
    references: [`docker.io/library/${name}`],
    config: { rootfs: { diff_ids: layers } },
  }) as unknown as StoredImage;

const images = [
  image('a', 'base:1', ['x']),
  image('b', 'app:latest', ['x', 'y']),
  image('c', 'other:latest', ['z']),
];

const web = {
  id: '1'.repeat(64),
  name: 'web',
  status: 'running',
  state: { exitCode: 0 },
  record: {
    created: '2026-01-02T00:00:00Z',
    image: { id: images[1]?.id, config: { Labels: { tier: 'front' }, ExposedPorts: { '9000/udp': {} } } },
    options: {
      image: 'app',
      labels: { team: 'blue' },
      mounts: [
        { type: 'bind', source: '/srv', target: '/data' },
        { type: 'tmpfs', target: '/scratch' },
      ],
      network: { mode: { type: 'bridge', network: 'bridge' }, publish: [], expose: ['7000'] },
    },
  },
  network: {
    networkId: 'feedbeef',
    ports: { '80/tcp': [{ HostIp: '0.0.0.0', HostPort: '8080' }], '53/udp': null },
  },
} as unknown as ContainerSummary;

const old = {
  ...web,
  id: '2'.repeat(64),
  name: 'old',
  status: 'exited',
  state: { exitCode: 3 },
  record: { ...web.record, created: '2026-01-01T00:00:00Z' },
} as unknown as ContainerSummary;

const pairs = (texts: readonly string[]) =>
  texts.map((text): [string, string] => [
    text.slice(0, text.indexOf('=')),
    text.slice(text.indexOf('=') + 1),
  ]);

describe('containerFilter()', () => {
  test.each<[string[], boolean]>([
    [['id=111'], true],
    [['id=22'], false],
    [['name=^/web$'], true],
    [['name=w.b'], true],
    [['name=b['], false],
    [['label=team', 'label=tier=front'], true],
    [['label=team=red'], false],
    [['status=running'], true],
    [['status=exited', 'status=running'], true],
    [['exited=0'], false],
    [['ancestor=app'], true],
    [['ancestor=app:latest'], true],
    [['ancestor=base:1'], true],
    [['ancestor=other'], false],
    [['ancestor=bbbb'], true],
    [['since=old'], true],
    [['before=old'], false],
    [['volume=/srv'], true],
    [['volume=/scratch'], true],
    [['volume=/else'], false],
    [['network=bridge'], true],
    [['network=feed'], true],
    [['network=none'], false],
    [['publish=8080'], true],
    [['publish=8000-8090/tcp'], true],
    [['publish=8080/udp'], false],
    [['publish=80'], false],
    [['expose=80'], true],
    [['expose=53/udp'], true],
    [['expose=9000/udp'], true],
    [['expose=7000'], true],
    [['expose=8080'], false],
    [['is-task=false'], true],
    [['is-task=true'], false],
    [['isolation=default'], true],
    [['name=web', 'status=exited'], false],
  ])('%j', (texts, expected) => {
    expect(containerFilter(pairs(texts)).matches(web, { all: [web, old], images })).toBe(expected);
  });

  test('exited and status want what does not run, too', () => {
    const filter = containerFilter([['exited', '3']]);
    expect(filter.anyStatus).toBe(true);
    expect(filter.matches(old, { all: [web, old] })).toBe(true);
    expect(containerFilter([['name', 'x']])).toMatchObject({ anyStatus: false, needsImages: false });
  });

  test.each([
    ['color', 'red', "invalid filter 'color'"],
    ['status', 'well', "invalid filter 'status=well'"],
    ['exited', 'x', "invalid filter 'exited=x'"],
    ['publish', '80-', "invalid filter 'publish=80-'"],
    ['is-task', 'maybe', "invalid filter 'is-task=maybe'"],
    ['__proto__', 'x', "invalid filter '__proto__'"],
  ])('refuses %s=%s', (key, value, message) => {
    expect(() => containerFilter([[key, value]])).toThrow(message);
  });

  test('since a container that is not there', () => {
    const filter = containerFilter([['since', 'nosuch']]);
    expect(() => filter.matches(web, { all: [web] })).toThrow('No such container: nosuch');
  });
});
