import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TinyrunError } from '../../../src/errors.ts';
import { MEDIA_TYPE } from '../../../src/oci/image-spec.ts';
import { isForeign, layerCompression, parseDocument } from '../../../src/registry/manifest.ts';

const DIGEST = `sha256:${'a'.repeat(64)}`;
const CONFIG = { mediaType: MEDIA_TYPE.ociConfig, digest: DIGEST, size: 7 };
const LAYER = { mediaType: MEDIA_TYPE.ociLayerGzip, digest: DIGEST, size: 70 };
const MANIFEST = { schemaVersion: 2, mediaType: MEDIA_TYPE.ociManifest, config: CONFIG, layers: [LAYER] };
const INDEX = {
  schemaVersion: 2,
  mediaType: MEDIA_TYPE.ociIndex,
  manifests: [{ ...CONFIG, mediaType: MEDIA_TYPE.ociManifest }],
};

const bytes = (value: unknown): Uint8Array =>
  new TextEncoder().encode(typeof value === 'string' ? value : JSON.stringify(value));
const { mediaType: _, ...NAMELESS } = MANIFEST;

describe('parseDocument()', () => {
  it('reads a manifest', () => {
    const document = parseDocument(bytes({ ...MANIFEST, annotations: { a: 'b' } }), MEDIA_TYPE.ociManifest);
    expect(document).toEqual({
      kind: 'manifest',
      manifest: {
        mediaType: MEDIA_TYPE.ociManifest,
        config: CONFIG,
        layers: [LAYER],
        annotations: { a: 'b' },
      },
    });
  });

  it('reads an index with platforms', () => {
    const platform = { os: 'linux', architecture: 'arm', variant: 'v7', features: ['ignored'] };
    const document = parseDocument(bytes({ ...INDEX, manifests: [{ ...INDEX.manifests[0], platform }] }));
    expect(document).toMatchObject({
      kind: 'index',
      index: { manifests: [{ platform: { variant: 'v7' } }] },
    });
  });

  it.each([
    ['no mediaType, no header', NAMELESS, undefined, MEDIA_TYPE.ociManifest],
    ['no mediaType, header', NAMELESS, MEDIA_TYPE.dockerManifest, MEDIA_TYPE.dockerManifest],
    ['a useless header', MANIFEST, 'text/plain; charset=utf-8', MEDIA_TYPE.ociManifest],
    [
      'a header with parameters',
      MANIFEST,
      `${MEDIA_TYPE.ociManifest}; charset=utf-8`,
      MEDIA_TYPE.ociManifest,
    ],
  ])('knows the media type with %s', (_name, document, header, expected) => {
    expect(parseDocument(bytes(document), header)).toMatchObject({ manifest: { mediaType: expected } });
  });

  it('takes null for absent', () => {
    const document = parseDocument(bytes({ ...MANIFEST, layers: null, annotations: null }));
    expect(document).toEqual({
      kind: 'manifest',
      manifest: { mediaType: MEDIA_TYPE.ociManifest, config: CONFIG, layers: [] },
    });
  });

  it.each<[string, unknown, string | undefined, string, string]>([
    [
      'both kinds at once (CVE-2021-41190)',
      { ...MANIFEST, manifests: [] },
      undefined,
      'invalid',
      'both "manifests" and',
    ],
    ['both kinds, one null', { ...INDEX, layers: null }, undefined, 'invalid', 'both "manifests" and'],
    [
      'an index called manifest',
      { ...INDEX, mediaType: MEDIA_TYPE.ociManifest },
      undefined,
      'invalid',
      'the fields of an index',
    ],
    [
      'a manifest called index',
      { ...MANIFEST, mediaType: MEDIA_TYPE.ociIndex },
      undefined,
      'invalid',
      'the fields of a manifest',
    ],
    ['a header of the other kind', MANIFEST, MEDIA_TYPE.ociIndex, 'invalid', 'was announced as'],
    ['a header of the other family', MANIFEST, MEDIA_TYPE.dockerManifest, 'invalid', 'was announced as'],
    ['neither kind', { schemaVersion: 2 }, undefined, 'invalid', 'neither'],
    ['schema 1 by version', { schemaVersion: 1, fsLayers: [] }, undefined, 'unsupported', 'schema 1'],
    [
      'schema 1 by header',
      MANIFEST,
      'application/vnd.docker.distribution.manifest.v1+prettyjws',
      'unsupported',
      'schema 1',
    ],
    ['schema 3', { ...MANIFEST, schemaVersion: 3 }, undefined, 'invalid', '"schemaVersion"'],
    [
      'a helm chart',
      { ...MANIFEST, config: { ...CONFIG, mediaType: 'application/vnd.cncf.helm.config.v1+json' } },
      undefined,
      'unsupported',
      'an artifact of type "application/vnd.cncf.helm.config.v1+json"',
    ],
    [
      'an artifact',
      {
        ...MANIFEST,
        artifactType: 'application/x',
        config: { ...CONFIG, mediaType: 'application/vnd.oci.empty.v1+json' },
      },
      undefined,
      'unsupported',
      'an artifact of type "application/x"',
    ],
    ['no JSON', '{', undefined, 'invalid', 'not valid JSON'],
    ['no UTF-8', '', undefined, 'invalid', 'not valid JSON'],
    ['a list', [], undefined, 'invalid', 'not a JSON object'],
    ['null', 'null', undefined, 'invalid', 'not a JSON object'],
    [
      'a config that is text',
      { ...MANIFEST, config: 'x' },
      undefined,
      'invalid',
      '"config" is not an object',
    ],
    [
      'layers that are an object',
      { ...MANIFEST, layers: {} },
      undefined,
      'invalid',
      '"layers" is not a list',
    ],
    [
      'a layer that is null',
      { ...MANIFEST, layers: [LAYER, null] },
      undefined,
      'invalid',
      '"layers[1]" is not an object',
    ],
    [
      'a negative size',
      { ...MANIFEST, layers: [{ ...LAYER, size: -1 }] },
      undefined,
      'invalid',
      '"layers[0].size"',
    ],
    [
      'a size as text',
      { ...MANIFEST, layers: [{ ...LAYER, size: '70' }] },
      undefined,
      'invalid',
      '"layers[0].size"',
    ],
    [
      'a fractional size',
      { ...MANIFEST, layers: [{ ...LAYER, size: 0.5 }] },
      undefined,
      'invalid',
      '"layers[0].size"',
    ],
    [
      'an absurd size',
      { ...MANIFEST, layers: [{ ...LAYER, size: 1e300 }] },
      undefined,
      'invalid',
      '"layers[0].size"',
    ],
    [
      'a digest that is a path (CVE-2024-3727)',
      { ...MANIFEST, layers: [{ ...LAYER, digest: 'sha256:../../etc/passwd' }] },
      undefined,
      'invalid',
      'layers[0].digest',
    ],
    [
      'an upper-case digest',
      { ...MANIFEST, config: { ...CONFIG, digest: DIGEST.toUpperCase() } },
      undefined,
      'invalid',
      'config.digest',
    ],
    [
      'a sha512 digest',
      { ...MANIFEST, config: { ...CONFIG, digest: `sha512:${'a'.repeat(128)}` } },
      undefined,
      'unsupported',
      'only sha256',
    ],
    [
      'urls of numbers',
      { ...MANIFEST, layers: [{ ...LAYER, urls: [1] }] },
      undefined,
      'invalid',
      '"layers[0].urls"',
    ],
    [
      'annotations of numbers',
      { ...MANIFEST, annotations: { a: 1 } },
      undefined,
      'invalid',
      '"annotations.a"',
    ],
    [
      'a platform that is text',
      { ...INDEX, manifests: [{ ...INDEX.manifests[0], platform: 'x' }] },
      undefined,
      'invalid',
      '"manifests[0].platform"',
    ],
    [
      'a variant that is a list',
      {
        ...INDEX,
        manifests: [{ ...INDEX.manifests[0], platform: { os: 'linux', architecture: 'arm', variant: [] } }],
      },
      undefined,
      'invalid',
      '"manifests[0].platform.variant"',
    ],
    [
      'too many layers',
      { ...MANIFEST, layers: Array(5000).fill(LAYER) },
      undefined,
      'invalid',
      '4096 entries',
    ],
    [
      'too many bytes',
      `${JSON.stringify(MANIFEST)}${' '.repeat(5 << 20)}`,
      undefined,
      'invalid',
      'expected 4194304 at most',
    ],
  ])('refuses %s', (_name, document, header, kind, message) => {
    expect(() => parseDocument(bytes(document), header)).toThrow(
      expect.objectContaining({ kind, message: expect.stringContaining(message) }),
    );
  });

  it('refuses bytes that are not UTF-8', () => {
    const broken = bytes(MANIFEST).map((byte, at) => (at === 3 ? 0xff : byte));
    expect(() => parseDocument(broken)).toThrow('not valid JSON');
  });

  it('survives deep nesting', () => {
    expect(() => parseDocument(bytes(`{"layers":${'['.repeat(500_000)}`))).toThrow(TinyrunError);
  });

  it('answers any JSON with a document or a TinyrunError', () => {
    const part = fc.anything({ maxDepth: 3 });
    fc.assert(
      fc.property(
        fc.record(
          { schemaVersion: part, mediaType: part, config: part, layers: part, manifests: part },
          { requiredKeys: [] },
        ),
        (value) => {
          let text: string | undefined;
          try {
            text = JSON.stringify(value);
          } catch {
            return;
          }
          try {
            parseDocument(bytes(text ?? ''));
          } catch (error) {
            expect(error).toBeInstanceOf(TinyrunError);
          }
        },
      ),
    );
  });

  it('keeps a key named __proto__ as data', () => {
    const text = JSON.stringify(MANIFEST).replace(/}$/, ',"annotations":{"__proto__":"x"}}');
    const document = parseDocument(bytes(text));
    const annotations = document.kind === 'manifest' ? document.manifest.annotations : undefined;
    expect(Object.keys(annotations ?? {})).toEqual(['__proto__']);
    expect(({} as Record<string, unknown>).x).toBeUndefined();
  });
});

describe('layerCompression()', () => {
  it.each([
    ['application/vnd.docker.image.rootfs.diff.tar', 'auto'],
    ['application/vnd.docker.image.rootfs.diff.tar.gzip', 'gzip'],
    ['application/vnd.docker.image.rootfs.diff.tar.zstd', 'zstd'],
    ['application/vnd.docker.image.rootfs.foreign.diff.tar.gzip', 'gzip'],
    ['application/vnd.oci.image.layer.v1.tar', 'none'],
    ['application/vnd.oci.image.layer.v1.tar+gzip', 'gzip'],
    ['application/vnd.oci.image.layer.v1.tar+zstd', 'zstd'],
    ['application/vnd.oci.image.layer.nondistributable.v1.tar+gzip', 'gzip'],
  ])('%s: %s', (mediaType, expected) => {
    expect(layerCompression({ ...LAYER, mediaType } as never)).toBe(expected);
  });

  it.each([
    ['application/vnd.oci.image.layer.v1.tar+gzip+encrypted', 'it is encrypted'],
    ['application/vnd.erofs.layer.v1', 'expected a tar layer'],
    ['application/vnd.in-toto+json', 'expected a tar layer'],
    ['', 'expected a tar layer'],
  ])('refuses "%s"', (mediaType, message) => {
    expect(() => layerCompression({ ...LAYER, mediaType } as never)).toThrow(message);
  });
});

describe('isForeign()', () => {
  it('needs a foreign type and addresses', () => {
    const mediaType = 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip';
    const urls = ['https://elsewhere/x'];
    expect(isForeign({ ...LAYER, mediaType, urls } as never)).toBe(true);
    expect(isForeign({ ...LAYER, mediaType } as never)).toBe(false);
    expect(isForeign({ ...LAYER, urls } as never)).toBe(false);
  });
});
