import { describe, expect, it } from 'vitest';
import { parseNamedContext } from '../../../src/build/named-context.ts';
import { parseOutput } from '../../../src/build/output.ts';
import { buildMetadata } from '../../../src/build/output-metadata.ts';
import { parseDigest } from '../../../src/oci/digest.ts';

describe('parseOutput()', () => {
  it.each<[string, object]>([
    ['out', { type: 'local', dest: 'out' }],
    ['-', { type: 'tar', dest: '-' }],
    ['type=local,dest=a', { type: 'local', dest: 'a' }],
    ['type=tar', { type: 'tar', dest: '-' }],
    ['type=oci,dest=a.tar,name=x:1', { type: 'oci', dest: 'a.tar', tar: true, names: ['x:1'] }],
    ['type=oci,dest=dir,tar=false', { tar: false }],
    ['type=docker', { type: 'image', push: false }],
    ['type=docker,dest=a.tar', { type: 'docker', dest: 'a.tar' }],
    ['type=image,"name=a,b",push=true', { type: 'image', names: ['a', 'b'], push: true }],
    ['type=registry', { type: 'image', push: true }],
    ['type=image,annotation.a.b=c', { annotations: { 'a.b': 'c' } }],
    ['type=cacheonly', { type: 'cacheonly' }],
  ])('reads %s', (text, expected) => {
    expect(parseOutput(text).output).toMatchObject(expected);
  });

  it('reads how layers are packed', () => {
    expect(
      parseOutput('type=image,compression=zstd,compression-level=9,rewrite-timestamp=true').packing,
    ).toEqual({
      compression: 'zstd',
      level: 9,
    });
  });

  it.each([
    ['dest=a', 'type is required for output'],
    ['type=zip', 'unsupported output type "zip"'],
    ['type=local', 'dest is required for local output'],
    ['type=oci,tar=false', 'dest is required for oci output'],
    ['type=image,compression=lz4', 'unsupported layer compression type: lz4'],
    ['type=image,push=maybe', 'non-bool value specified for push'],
    ['type=image,what=x', 'unsupported output option "what"'],
    ['type=image,push', 'invalid value push'],
  ])('refuses %s', (text, message) => {
    expect(() => parseOutput(text)).toThrow(message);
  });
});

describe('parseNamedContext()', () => {
  const digest = `sha256:${'a'.repeat(64)}`;
  it.each<[string, object]>([
    ['src=./dir', { name: 'src', source: { type: 'files', value: './dir' } }],
    [
      'docker.io/library/alpine:latest=docker-image://busybox',
      { name: 'alpine', source: { reference: 'busybox' } },
    ],
    ['a=oci-layout:///l:tag', { source: { type: 'oci-layout', directory: '/l', tag: 'tag' } }],
    [`a=oci-layout://l@${digest}`, { source: { directory: 'l', digest } }],
    ['a=https://x/b.git#main', { source: { type: 'files', value: 'https://x/b.git#main' } }],
  ])('reads %s', (text, expected) => {
    expect(parseNamedContext(text)).toMatchObject(expected);
  });

  it.each(['a', '=b', 'a=', 'a b=c', 'a=-', 'a=oci-layout://'])('refuses %s', (text) => {
    expect(() => parseNamedContext(text)).toThrow();
  });
});

describe('buildMetadata()', () => {
  it('has the keys that tools read', () => {
    const digest = parseDigest(`sha256:${'b'.repeat(64)}`);
    const id = parseDigest(`sha256:${'c'.repeat(64)}`);
    expect(
      buildMetadata({
        id,
        descriptor: { mediaType: 'm', digest, size: 3 },
        names: ['x:1', 'y:2'],
      }),
    ).toEqual({
      'containerimage.config.digest': id,
      'containerimage.descriptor': { mediaType: 'm', digest, size: 3 },
      'containerimage.digest': digest,
      'image.name': 'x:1,y:2',
    });
  });
});
