import { describe, expect, it } from 'vitest';
import type { Digest } from '../../../src/oci/digest.ts';
import { type Descriptor, type Index, MEDIA_TYPE } from '../../../src/oci/image-spec.ts';
import {
  formatPlatform,
  hostPlatform,
  normalizePlatform,
  parsePlatform,
  preferences,
  runsOn,
  selectManifest,
} from '../../../src/registry/platform.ts';

const host = hostPlatform('x64');

function platform(text: string) {
  const [os = '', architecture = '', variant] = text.split('/');
  return { os, architecture, ...(variant === undefined ? {} : { variant }) };
}

function entry(text: string | undefined, more: Partial<Descriptor> = {}): Descriptor {
  const digest = `sha256:${Buffer.from(text ?? 'none')
    .toString('hex')
    .padEnd(64, '0')
    .slice(0, 64)}` as Digest;
  return {
    mediaType: MEDIA_TYPE.ociManifest,
    digest,
    size: 1,
    ...(text === undefined ? {} : { platform: platform(text) }),
    ...more,
  };
}

const indexOf = (...manifests: Descriptor[]): Index => ({ mediaType: MEDIA_TYPE.ociIndex, manifests });

describe('normalizePlatform()', () => {
  it.each([
    ['linux/x86_64', 'linux/amd64'],
    ['Linux/X86-64', 'linux/amd64'],
    ['linux/amd64/v1', 'linux/amd64'],
    ['linux/amd64/v3', 'linux/amd64/v3'],
    ['linux/i386', 'linux/386'],
    ['linux/aarch64', 'linux/arm64'],
    ['linux/arm64/v8', 'linux/arm64'],
    ['linux/arm64/8', 'linux/arm64'],
    ['linux/arm64/v9', 'linux/arm64/v9'],
    ['linux/arm', 'linux/arm/v7'],
    ['linux/armhf', 'linux/arm/v7'],
    ['linux/armel', 'linux/arm/v6'],
    ['linux/arm/6', 'linux/arm/v6'],
    ['macos/arm64', 'darwin/arm64'],
    ['linux/constructor', 'linux/constructor'],
  ])('%s is %s', (from, to) => {
    expect(normalizePlatform(platform(from))).toEqual(platform(to));
  });
});

describe('parsePlatform()', () => {
  it.each([
    ['linux', 'linux/amd64'],
    ['arm64', 'linux/arm64'],
    ['aarch64', 'linux/arm64'],
    ['linux/arm/v6', 'linux/arm/v6'],
    ['windows/amd64', 'windows/amd64'],
  ])('%s is %s', (from, to) => {
    expect(parsePlatform(from, host)).toEqual(platform(to));
  });

  it.each(['', 'linux/', '/amd64', 'nonsense', 'a/b/c/d', 'linux/am d64', 'linux/\u001b[31m'])(
    'refuses "%s"',
    (text) => {
      expect(() => parsePlatform(text, host)).toThrow(expect.objectContaining({ kind: 'invalid' }));
    },
  );
});

describe('preferences()', () => {
  const names = (text: string) => preferences(platform(text)).map(formatPlatform);
  it.each([
    ['linux/amd64', ['linux/amd64', 'linux/386']],
    ['linux/amd64/v3', ['linux/amd64/v3', 'linux/amd64/v2', 'linux/amd64', 'linux/386']],
    ['linux/arm/v7', ['linux/arm/v7', 'linux/arm/v6', 'linux/arm/v5']],
    ['linux/arm/v5', ['linux/arm/v5']],
    ['linux/arm64', ['linux/arm64/v8', 'linux/arm/v8', 'linux/arm/v7', 'linux/arm/v6', 'linux/arm/v5']],
    ['linux/s390x', ['linux/s390x']],
  ])('of %s', (text, expected) => {
    expect(names(text)).toEqual(expected);
  });

  it('takes v8.5 and below for arm64 v9', () => {
    expect(names('linux/arm64/v9').slice(0, 3)).toEqual([
      'linux/arm64/v9',
      'linux/arm64/v8.5',
      'linux/arm64/v8.4',
    ]);
  });

  it('is bounded for absurd variants', () => {
    expect(preferences(platform('linux/amd64/v999999999')).length).toBeLessThan(32);
  });
});

describe('runsOn()', () => {
  it.each([
    ['linux/amd64', 'linux/amd64/v3', true],
    ['linux/amd64/v3', 'linux/amd64', false],
    ['linux/386', 'linux/amd64', true],
    ['linux/arm/v6', 'linux/arm/v7', true],
    ['linux/arm/v7', 'linux/arm/v6', false],
    ['linux/arm64', 'linux/amd64', false],
    ['windows/amd64', 'linux/amd64', false],
  ])('%s on %s: %s', (offered, wanted, expected) => {
    expect(runsOn(platform(offered), platform(wanted))).toBe(expected);
  });
});

describe('selectManifest()', () => {
  it('takes the best variant, whatever the order', () => {
    const index = indexOf(
      entry('linux/386'),
      entry('linux/amd64'),
      entry('linux/amd64/v3'),
      entry('linux/arm64/v8'),
    );
    expect(selectManifest(index, platform('linux/amd64/v4')).platform).toEqual(platform('linux/amd64/v3'));
    expect(selectManifest(index, platform('linux/amd64')).platform).toEqual(platform('linux/amd64'));
    expect(selectManifest(index, platform('linux/arm64')).platform).toEqual(platform('linux/arm64/v8'));
  });

  it('takes the first of two that are equal', () => {
    const first = entry('linux/amd64', { annotations: { n: '1' } });
    expect(selectManifest(indexOf(first, entry('linux/amd64')), host)).toBe(first);
  });

  it('skips attestations and artifacts', () => {
    const image = entry('linux/amd64');
    const index = indexOf(
      entry('unknown/unknown'),
      entry('linux/amd64', { annotations: { 'vnd.docker.reference.type': 'attestation-manifest' } }),
      entry('linux/amd64', { artifactType: 'application/vnd.in-toto+json' }),
      entry('linux/amd64', { mediaType: 'application/vnd.in-toto+json' }),
      image,
    );
    expect(selectManifest(index, host)).toBe(image);
  });

  it('takes an entry without platform only where none fits', () => {
    const bare = entry(undefined);
    expect(selectManifest(indexOf(bare, entry('linux/arm64')), host)).toBe(bare);
    expect(selectManifest(indexOf(bare, entry('linux/amd64')), host).platform).toEqual(
      platform('linux/amd64'),
    );
  });

  it('says what Docker says, and what there is', () => {
    expect(() =>
      selectManifest(indexOf(entry('linux/amd64'), entry('linux/s390x')), platform('linux/arm64')),
    ).toThrow(
      expect.objectContaining({
        kind: 'not_found',
        message: 'no matching manifest for linux/arm64/v8 in the manifest list entries',
        hint: 'It has linux/amd64, linux/s390x',
      }),
    );
    expect(() => selectManifest(indexOf(), host)).toThrow('no matching manifest for linux/amd64');
  });
});
