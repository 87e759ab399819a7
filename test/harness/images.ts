import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { pack } from 'tar-stream';
import { type Digest, hexOf, parseDigest } from '../../src/oci/digest.ts';
import {
  type Descriptor,
  type ImageConfig,
  MEDIA_TYPE,
  type Platform,
  type ProcessDefaults,
} from '../../src/oci/image-spec.ts';

/** One member of a layer's tar. */
export interface LayerEntry {
  readonly name: string;
  readonly type?: 'file' | 'directory' | 'symlink' | 'link' | 'character-device' | 'block-device' | 'fifo';
  readonly content?: string | Uint8Array;
  /** Default: 0o755 for directories, 0o644 for the rest. */
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  /** Seconds since the epoch. */
  readonly mtime?: number;
  /** Target of a symlink or hard link. */
  readonly linkname?: string;
  readonly devmajor?: number;
  readonly devminor?: number;
  /** Pax records, such as `SCHILY.xattr.user.x`. */
  readonly pax?: Readonly<Record<string, string>>;
}

export type Compression = 'gzip' | 'zstd' | 'none';

export interface BuiltLayer {
  readonly descriptor: Descriptor;
  /** As in the registry: compressed. */
  readonly bytes: Buffer;
  readonly diffId: Digest;
}

/** A blob with its descriptor: a manifest, an index or a config. */
export interface BuiltDocument {
  readonly descriptor: Descriptor;
  readonly bytes: Buffer;
}

/** A manifest or an index with everything below it. */
export interface BuiltImage {
  readonly target: BuiltDocument;
  /** By digest: documents and layers, the target too. */
  readonly blobs: ReadonlyMap<Digest, Buffer>;
}

export function digestOf(bytes: Uint8Array | string): Digest {
  return parseDigest(`sha256:${createHash('sha256').update(bytes).digest('hex')}`);
}

/** Entries as an uncompressed tar. */
export async function tarOf(entries: readonly LayerEntry[]): Promise<Buffer> {
  const tar = pack();
  for (const entry of entries) {
    const { content = '', mtime = 0, pax, type = 'file', ...rest } = entry;
    const mode = entry.mode ?? (type === 'directory' ? 0o755 : 0o644);
    const header = {
      ...rest,
      type,
      mode,
      mtime: new Date(mtime * 1000),
      ...(pax ? { pax: { ...pax } } : {}),
    };
    if (type === 'file') tar.entry(header, Buffer.from(content));
    else tar.entry(header);
  }
  tar.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of tar) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

const LAYER_TYPE = {
  gzip: MEDIA_TYPE.ociLayerGzip,
  zstd: MEDIA_TYPE.ociLayerZstd,
  none: MEDIA_TYPE.ociLayer,
} as const;

/** A layer of entries, or of a tar that was made elsewhere. */
export async function layerOf(
  content: readonly LayerEntry[] | Buffer,
  compression: Compression = 'gzip',
): Promise<BuiltLayer> {
  const tar = Buffer.isBuffer(content) ? content : await tarOf(content);
  const bytes = compression === 'gzip' ? gzipSync(tar) : compression === 'zstd' ? zstdStored(tar) : tar;
  return {
    bytes,
    diffId: digestOf(tar),
    descriptor: { mediaType: LAYER_TYPE[compression], digest: digestOf(bytes), size: bytes.byteLength },
  };
}

export interface ImageRecipe {
  readonly layers: readonly BuiltLayer[];
  readonly config?: ProcessDefaults;
  readonly platform?: Platform;
  readonly created?: string;
  /** Replaces fields of the config document, to make a broken one. */
  readonly override?: Readonly<Record<string, unknown>>;
  /** `docker`: schema 2 media types. */
  readonly flavour?: 'oci' | 'docker';
}

/** An image of one platform: its target is a manifest. */
export function imageOf(recipe: ImageRecipe): BuiltImage {
  const { layers, config = {}, platform = { os: 'linux', architecture: 'amd64' }, flavour = 'oci' } = recipe;
  const imageConfig: ImageConfig = {
    ...platform,
    created: recipe.created ?? '2024-01-02T03:04:05Z',
    config,
    rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer.diffId) },
    history: layers.map((_, index) => ({ created_by: `layer ${index}` })),
  };
  const isDocker = flavour === 'docker';
  const configDocument = documentOf(
    { ...imageConfig, ...recipe.override },
    isDocker ? MEDIA_TYPE.dockerConfig : MEDIA_TYPE.ociConfig,
  );
  const mediaType = isDocker ? MEDIA_TYPE.dockerManifest : MEDIA_TYPE.ociManifest;
  const target = documentOf(
    {
      schemaVersion: 2,
      mediaType,
      config: configDocument.descriptor,
      layers: layers.map(({ descriptor }) =>
        isDocker ? { ...descriptor, mediaType: MEDIA_TYPE.dockerLayerGzip } : descriptor,
      ),
    },
    mediaType,
  );
  const documents = [target, configDocument, ...layers];
  return { target, blobs: new Map(documents.map((one) => [one.descriptor.digest, one.bytes])) };
}

/** An index of images of several platforms. */
export function indexOf(images: readonly { image: BuiltImage; platform?: Platform }[]): BuiltImage {
  const target = documentOf(
    {
      schemaVersion: 2,
      mediaType: MEDIA_TYPE.ociIndex,
      manifests: images.map(({ image, platform }) => ({
        ...image.target.descriptor,
        ...(platform ? { platform } : {}),
      })),
    },
    MEDIA_TYPE.ociIndex,
  );
  const blobs = new Map<Digest, Buffer>([[target.descriptor.digest, target.bytes]]);
  for (const { image } of images) for (const [digest, bytes] of image.blobs) blobs.set(digest, bytes);
  return { target, blobs };
}

export function documentOf(value: unknown, mediaType: string): BuiltDocument {
  const bytes = Buffer.from(JSON.stringify(value));
  return { bytes, descriptor: { mediaType, digest: digestOf(bytes), size: bytes.byteLength } };
}

/**
 * Writes images as an OCI image layout, one entry per name.
 * @param images by the value of `org.opencontainers.image.ref.name`
 */
export function writeLayout(directory: string, images: Readonly<Record<string, BuiltImage>>): void {
  const blobs = join(directory, 'blobs', 'sha256');
  mkdirSync(blobs, { recursive: true });
  for (const image of Object.values(images)) {
    for (const [digest, bytes] of image.blobs) writeFileSync(join(blobs, hexOf(digest)), bytes);
  }
  writeFileSync(join(directory, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  const manifests = Object.entries(images).map(([name, { target }]) => ({
    ...target.descriptor,
    annotations: { 'org.opencontainers.image.ref.name': name },
  }));
  writeFileSync(join(directory, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests }));
}

/** Commands that the busybox image has as hard links, as the official one does. */
const APPLETS =
  `[ awk base64 basename cat chmod chown cp cut date dd df dirname du echo env expr false find free
  getopt grep groups gunzip gzip head hostname httpd id ifconfig ip kill less ln ls md5sum mkdir mknod mktemp more
  mount mv nc netstat nproc nslookup od paste ping ping6 printenv printf ps pwd readlink realpath rm rmdir route sed seq
  setsid sh sha256sum sleep sort stat stty su sync tail tar tee telnet test time timeout top touch tr traceroute true
  tty umount uname uniq unshare uptime usleep vi wc wget which whoami xargs yes`
    .trim()
    .split(/\s+/);

/**
 * A busybox root file system from Debian's busybox-static, laid out as the official image.
 * @param binary default `/bin/busybox`
 */
export function busyboxEntries(binary = '/bin/busybox'): LayerEntry[] {
  const directory = (name: string, mode = 0o755): LayerEntry => ({ name, type: 'directory', mode });
  const file = (name: string, content: string, mode = 0o644): LayerEntry => ({ name, content, mode });
  return [
    directory('bin/'),
    { name: 'bin/busybox', content: readFileSync(binary), mode: 0o755 },
    ...APPLETS.map((name): LayerEntry => ({ name: `bin/${name}`, type: 'link', linkname: 'bin/busybox' })),
    directory('dev/'),
    directory('etc/'),
    file('etc/group', 'root:x:0:\ndaemon:x:1:\nbin:x:2:\nwww-data:x:33:\nusers:x:100:\nnobody:x:65534:\n'),
    file(
      'etc/passwd',
      'root:x:0:0:root:/root:/bin/sh\ndaemon:x:1:1:daemon:/usr/sbin:/bin/false\nbin:x:2:2:bin:/bin:/bin/false\n' +
        'www-data:x:33:33:www-data:/var/www:/bin/false\nnobody:x:65534:65534:nobody:/home:/bin/false\n',
    ),
    file('etc/shadow', 'root:*:10933:0:99999:7:::\n', 0o640),
    directory('home/'),
    directory('root/', 0o700),
    directory('tmp/', 0o1777),
    directory('usr/'),
    { name: 'usr/bin', type: 'symlink', linkname: '../bin' },
    directory('usr/sbin/'),
    directory('var/'),
    directory('var/www/'),
  ];
}

/** The architecture of this machine as images name it. */
export const HOST_ARCHITECTURE = process.arch === 'arm64' ? 'arm64' : 'amd64';

/** The busybox image: `sh` as its command. */
export async function busyboxImage(config: ProcessDefaults = {}, binary?: string): Promise<BuiltImage> {
  return imageOf({
    layers: [await layerOf(busyboxEntries(binary))],
    platform: { os: 'linux', architecture: HOST_ARCHITECTURE },
    config: {
      Cmd: ['sh'],
      Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'],
      ...config,
    },
  });
}

/**
 * A zstd frame of stored blocks: Node 20 has no zstd encoder, and a decoder does not care.
 * @see https://www.rfc-editor.org/rfc/rfc8878#section-3.1.1
 */
export function zstdStored(bytes: Buffer): Buffer {
  const blockSize = 128 * 1024;
  // Magic; descriptor: 8-byte content size, no checksum; window descriptor 2^17 bytes.
  const header = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0xc0, 7 << 3]);
  const size = Buffer.alloc(8);
  size.writeBigUInt64LE(BigInt(bytes.byteLength));
  const parts: Uint8Array[] = [header, size];
  for (let at = 0; at === 0 || at < bytes.byteLength; at += blockSize) {
    const block = bytes.subarray(at, at + blockSize);
    const isLast = at + blockSize >= bytes.byteLength ? 1 : 0;
    const prefix = Buffer.alloc(3);
    prefix.writeUIntLE((block.byteLength << 3) | isLast, 0, 3);
    parts.push(prefix, block);
  }
  return Buffer.concat(parts);
}
