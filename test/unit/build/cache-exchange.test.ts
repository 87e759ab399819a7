import { describe, expect, it } from 'vitest';
import { cacheImage, parseCachePlace, stepsOf } from '../../../src/build/cache-exchange.ts';
import { type Digest, parseDigest } from '../../../src/oci/digest.ts';

const digest = (digit: string): Digest => parseDigest(`sha256:${digit.repeat(64)}`);
const descriptor = { mediaType: 'application/vnd.oci.image.layer.v1.tar+gzip', digest: digest('a'), size: 5 };
const layer = { diffId: digest('b'), descriptor, created: '2024-01-01T00:00:00Z' };
const step = { layer, bytes: 1024, description: 'RUN x' };

describe('parseCachePlace()', () => {
  it.each<[string, 'to' | 'from', object]>([
    ['type=local,dest=d', 'to', { type: 'local', directory: 'd', tag: 'latest', all: false }],
    ['type=local,dest=d,tag=x,mode=max', 'to', { tag: 'x', all: true }],
    ['type=local,src=d', 'from', { type: 'local', directory: 'd' }],
    ['type=registry,ref=r/a:b,mode=max', 'to', { type: 'registry', reference: 'r/a:b', all: true }],
    ['r/a:b', 'from', { type: 'registry', reference: 'r/a:b' }],
  ])('reads %s', (text, direction, expected) => {
    expect(parseCachePlace(text, direction)).toMatchObject(expected);
  });

  it.each<[string, 'to' | 'from', string]>([
    ['type=gha', 'to', 'cache type "gha" is not supported'],
    ['type=local,src=d', 'to', 'unsupported option "src"'],
    ['type=local', 'from', 'src is required'],
    ['type=registry,ref=', 'to', 'ref is required'],
    ['type=local,dest=d,mode=some', 'to', 'invalid cache mode "some"'],
  ])('refuses %s', (text, direction, message) => {
    expect(() => parseCachePlace(text, direction)).toThrow(message);
  });
});

describe('cacheImage()', () => {
  it('holds each layer once, and gives the steps back', () => {
    const steps = new Map([
      ['1'.repeat(64), step],
      ['2'.repeat(64), { ...step, description: 'the same by another key' }],
    ]);
    const { config, layers } = cacheImage(steps, { os: 'linux', architecture: 'amd64' });
    expect(layers).toEqual([layer]);
    expect(config.rootfs.diff_ids).toEqual([layer.diffId]);
    const pulled = [{ diffId: layer.diffId, descriptor }];
    expect(stepsOf(config, pulled)).toEqual(steps);
  });
});

describe('stepsOf()', () => {
  const { config } = cacheImage(new Map(), { os: 'linux', architecture: 'amd64' });
  it.each([
    undefined,
    'no json',
    '{"version":2,"steps":[]}',
    '{"version":1,"steps":[{"key":"../x","diffId":"sha256:00"}]}',
    `{"version":1,"steps":[{"key":"${'1'.repeat(64)}","diffId":"${digest('c')}","bytes":1,"description":""}]}`,
  ])('finds none in an image of others: %s', (label) => {
    const labels = label === undefined ? {} : { Labels: { 'dev.tinyrun.buildcache': label } };
    expect(stepsOf({ ...config, config: labels }, [{ diffId: layer.diffId, descriptor }]).size).toBe(0);
  });
});
