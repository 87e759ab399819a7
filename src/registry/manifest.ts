import { TinyrunError } from '../errors.ts';
import { parseDigest } from '../oci/digest.ts';
import { type Descriptor, type Index, type Manifest, MEDIA_TYPE, type Platform } from '../oci/image-spec.ts';
import { type JsonObject, parseJsonObject, type Shape, shapeOf } from './json-shape.ts';
import { printable } from './printable.ts';

/** Bytes; what containers/image and the distribution registry allow. */
export const LONGEST_MANIFEST = 4 * 1024 * 1024;
/** Entries of an index, layers of a manifest. Overlay stops far below. */
const MOST_ENTRIES = 4096;

export type Document =
  | { readonly kind: 'manifest'; readonly manifest: Manifest }
  | { readonly kind: 'index'; readonly index: Index };

const MANIFEST_TYPES: readonly string[] = [MEDIA_TYPE.ociManifest, MEDIA_TYPE.dockerManifest];
const INDEX_TYPES: readonly string[] = [MEDIA_TYPE.ociIndex, MEDIA_TYPE.dockerManifestList];
/** What a client accepts of a manifest endpoint, in the order in which Docker says it. */
export const ACCEPTED_MANIFESTS: readonly string[] = [
  MEDIA_TYPE.dockerManifest,
  MEDIA_TYPE.dockerManifestList,
  MEDIA_TYPE.ociManifest,
  MEDIA_TYPE.ociIndex,
];
const SCHEMA_1 = /^application\/vnd\.docker\.distribution\.manifest\.v1\+/;

/**
 * A manifest or an index from hostile bytes.
 * @param contentType the registry's header or the descriptor's media type; undefined where nothing said one
 * @throws TinyrunError `invalid` naming the field; `unsupported` for schema 1 and for artifacts that are no image
 * @see https://github.com/opencontainers/image-spec/blob/main/manifest.md
 */
export function parseDocument(bytes: Uint8Array, contentType?: string): Document {
  const shape = shapeOf('manifest');
  const raw = parseJsonObject(bytes, 'manifest', LONGEST_MANIFEST);
  const mediaType = mediaTypeOf(raw, shape, contentType);
  const annotations = shape.map(raw, 'annotations');
  const more = annotations === undefined ? {} : { annotations };
  if (INDEX_TYPES.includes(mediaType)) {
    const manifests = descriptors(raw, 'manifests', shape);
    return { kind: 'index', index: { mediaType, manifests, ...more } };
  }
  const config = descriptor(raw.config, 'config', shape);
  requireImage(config, shape.text(raw, 'artifactType'));
  return {
    kind: 'manifest',
    manifest: { mediaType, config, layers: descriptors(raw, 'layers', shape), ...more },
  };
}

/** The media type of a document's bytes, by the same rules as parseDocument(). */
export function documentMediaType(bytes: Uint8Array, contentType?: string): string {
  return mediaTypeOf(parseJsonObject(bytes, 'manifest', LONGEST_MANIFEST), shapeOf('manifest'), contentType);
}

/**
 * Which kind of document this is. All that is said about it must agree: a document that is valid both as a manifest and
 * as an index would mean one image to the scanner and another to the engine (CVE-2021-41190).
 */
function mediaTypeOf(raw: JsonObject, shape: Shape, contentType: string | undefined): string {
  const header = contentType?.split(';', 1)[0]?.trim().toLowerCase();
  const version = shape.number(raw, 'schemaVersion');
  const said = shape.text(raw, 'mediaType');
  if (version === 1 || (header !== undefined && SCHEMA_1.test(header))) throw schema1();
  if (version !== undefined && version !== 2) throw shape.fail('schemaVersion', '2');
  const asIndex = Object.hasOwn(raw, 'manifests');
  const asManifest = Object.hasOwn(raw, 'layers') || Object.hasOwn(raw, 'config');
  if (asIndex && asManifest) {
    throw new TinyrunError(
      'invalid',
      'Cannot read manifest: it has both "manifests" and "layers" or "config"',
    );
  }
  if (!asIndex && !asManifest) {
    throw new TinyrunError('invalid', 'Cannot read manifest: it has neither "manifests" nor "config"');
  }
  const expected = asIndex ? INDEX_TYPES : MANIFEST_TYPES;
  const fields = asIndex ? 'an index' : 'a manifest';
  if (said !== undefined && !expected.includes(said))
    throw disagreement('says', said, `has the fields of ${fields}`);
  const isKnown = header !== undefined && ACCEPTED_MANIFESTS.includes(header);
  if (isKnown && said !== undefined && header !== said)
    throw disagreement('was announced as', header, `says "${said}"`);
  if (isKnown && !expected.includes(header))
    throw disagreement('was announced as', header, `has the fields of ${fields}`);
  // OCI 1.0 documents may leave the field out; Docker's never do.
  return said ?? (isKnown ? header : asIndex ? MEDIA_TYPE.ociIndex : MEDIA_TYPE.ociManifest);
}

function disagreement(how: string, type: string, but: string): TinyrunError {
  return new TinyrunError('invalid', `Cannot read manifest: it ${how} "${printable(type, 100)}", but ${but}`);
}

function schema1(): TinyrunError {
  return new TinyrunError(
    'unsupported',
    'Docker Image Format v1 and Docker Image manifest version 2, schema 1 support has been removed',
    {
      hint: 'Suggest the author of the image to upgrade it to the OCI Format or Docker Image manifest v2, schema 2',
    },
  );
}

/**
 * Old registries gave configs the types after the first two (docker/distribution issue 1621); whatever is newer than
 * that and not one of the two is some other kind of artifact.
 */
const CONFIG_TYPES: readonly string[] = [
  MEDIA_TYPE.dockerConfig,
  MEDIA_TYPE.ociConfig,
  'application/octet-stream',
  'application/json',
  'text/html',
];

function requireImage(config: Descriptor, artifactType: string | undefined): void {
  if (CONFIG_TYPES.includes(config.mediaType) && artifactType === undefined) return;
  const type = printable(artifactType ?? config.mediaType, 100);
  throw new TinyrunError(
    'unsupported',
    `Cannot use manifest as an image: it is an artifact of type "${type}"`,
  );
}

export function descriptors(raw: JsonObject, field: string, shape: Shape): readonly Descriptor[] {
  const list = shape.list(raw, field) ?? [];
  if (list.length > MOST_ENTRIES) throw shape.fail(field, `a list of ${MOST_ENTRIES} entries at most`);
  return list.map((one, index) => descriptor(one, `${field}[${index}]`, shape));
}

/** @see https://github.com/opencontainers/image-spec/blob/main/descriptor.md#properties */
export function descriptor(value: unknown, field: string, document: Shape): Descriptor {
  const raw = document.object(value, field);
  const shape = document.within(field);
  const size = shape.number(raw, 'size');
  if (size === undefined || size < 0) throw shape.fail('size', 'a number of bytes');
  const annotations = shape.map(raw, 'annotations');
  const urls = shape.texts(raw, 'urls');
  const artifactType = shape.text(raw, 'artifactType');
  const platform = raw.platform ?? undefined;
  return {
    mediaType: shape.text(raw, 'mediaType') ?? '',
    // Digests become file names: none gets past here unchecked (CVE-2024-3727).
    digest: parseDigest(raw.digest, `${field}.digest`),
    size,
    ...(urls === undefined || urls.length === 0 ? {} : { urls }),
    ...(annotations === undefined ? {} : { annotations }),
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(platform === undefined ? {} : { platform: platformOf(platform, shape) }),
  };
}

function platformOf(value: unknown, descriptorShape: Shape): Platform {
  const raw = descriptorShape.object(value, 'platform');
  const shape = descriptorShape.within('platform');
  const variant = shape.text(raw, 'variant');
  const osVersion = shape.text(raw, 'os.version');
  return {
    os: shape.text(raw, 'os') ?? '',
    architecture: shape.text(raw, 'architecture') ?? '',
    ...(variant === undefined ? {} : { variant }),
    ...(osVersion === undefined ? {} : { 'os.version': osVersion }),
  };
}

export type LayerCompression = 'gzip' | 'zstd' | 'none' | 'auto';

const LAYER =
  /^application\/vnd\.(?:docker\.image\.rootfs\.(?:foreign\.)?diff|oci\.image\.layer\.(?:v1|nondistributable\.v1))\.tar(?:[.+](gzip|zstd))?$/;

/**
 * How a layer is compressed. Docker's bare `tar` says nothing about it (docker build cache exports lie), and the others
 * are checked against the bytes by the unpacker.
 * @throws TinyrunError `unsupported` for encrypted layers and those of other kinds
 */
export function layerCompression(layer: Descriptor): LayerCompression {
  const match = LAYER.exec(layer.mediaType);
  if (match === null) {
    const type = printable(layer.mediaType, 100);
    const what = type.endsWith('+encrypted') ? 'it is encrypted' : 'expected a tar layer';
    throw new TinyrunError('unsupported', `Cannot use layer of type "${type}": ${what}`);
  }
  if (match[1] === 'gzip' || match[1] === 'zstd') return match[1];
  return layer.mediaType.startsWith('application/vnd.docker.') ? 'auto' : 'none';
}

/** True for a layer that may be fetched from the descriptor's own URLs. */
export function isForeign(layer: Descriptor): boolean {
  return /\.foreign\.|\.nondistributable\./.test(layer.mediaType) && layer.urls !== undefined;
}
