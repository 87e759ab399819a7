import { createHash } from 'node:crypto';
import { closeSync, createReadStream, openSync } from 'node:fs';
import type { Paths } from '../disk/paths.ts';
import { errorCode, TinyrunError } from '../errors.ts';
import { type Digest, shortId } from '../oci/digest.ts';
import type { ImageConfig, Manifest } from '../oci/image-spec.ts';
import { parseImageConfig } from '../registry/image-config.ts';
import { parseDocument } from '../registry/manifest.ts';
import { familiarName, parseReference } from '../registry/reference.ts';
import { blobSize, digestsIn, readVerifiedDocument } from './blobs.ts';
import { type ImageKey, type IndexEntry, readIndex } from './index-file.ts';
import { readLayerRecord } from './layer-record.ts';
import { layerName } from './layers.ts';
import { repairerOf } from './restore.ts';
import type { Store } from './store.ts';
import { resolvedEntries } from './stored-image.ts';
import {
  type CheckedLayer,
  type CheckOptions,
  type Finding,
  ofOwners,
  type Trouble,
  titleOf,
} from './trouble.ts';
import { isUnpackError } from './unpack.ts';
import { verifyLayer } from './verify-layer.ts';

export interface CheckedStore {
  readonly images: number;
  readonly layers: number;
  readonly blobs: number;
  /** Of the blobs. */
  readonly bytes: number;
  readonly damages: number;
  /** Things that are damaged and were not restored nor dropped. */
  readonly left: number;
}

/**
 * Verifies a store: every document, every blob, and every unpacked layer file by file against its blob. Nothing is
 * collected meanwhile, and what a pull works on is left alone.
 * @throws TinyrunError `internal` where the index itself is damaged
 */
export async function checkStore(store: Store, options: CheckOptions): Promise<CheckedStore> {
  const lease = await store.lease();
  try {
    await store.repair();
    return await new Check(store, options).run();
  } finally {
    lease.release();
  }
}

class Check {
  readonly #paths: Paths;
  readonly #options: CheckOptions;
  readonly #entries: readonly IndexEntry[];
  readonly #repair: (trouble: Trouble) => Promise<Finding>;
  readonly #layers = new Map<string, CheckedLayer>();
  /** Those whose digest is known by now: good ones and bad ones. */
  readonly #verified = new Set<Digest>();
  #damages = 0;
  #left = 0;

  constructor(store: Store, options: CheckOptions) {
    this.#paths = store.paths;
    this.#options = options;
    this.#entries = resolvedEntries(store.paths, readIndex(store.paths).entries, store.host);
    this.#repair = repairerOf(store, options);
  }

  async run(): Promise<CheckedStore> {
    const images = await this.#checkImages();
    for (const layer of this.#layers.values()) await this.#checkLayer(layer);
    const blobs = digestsIn(this.#paths.blobs);
    let bytes = 0;
    for (const digest of blobs) {
      bytes += blobSize(this.#paths, digest) ?? 0;
      if (this.#options.quick !== true && !this.#verified.has(digest)) await this.#checkUnknown(digest);
    }
    return {
      images,
      layers: this.#layers.size,
      blobs: blobs.length,
      bytes,
      damages: this.#damages,
      left: this.#left,
    };
  }

  async #checkImages(): Promise<number> {
    const seen = new Map<Digest, string>();
    for (const entry of this.#entries) {
      for (const key of entry.images ?? []) {
        const owner = seen.get(key.id) ?? nameOf(entry, key);
        if (!seen.has(key.id)) await this.#checkImage(entry, key, owner);
        seen.set(key.id, owner);
      }
    }
    return seen.size;
  }

  async #checkImage(entry: IndexEntry, key: ImageKey, owner: string): Promise<void> {
    const bad: Digest[] = [];
    const read = <T>(what: string, digest: Digest, parse: (bytes: Buffer) => T): T | undefined => {
      this.#verified.add(digest);
      const bytes = readVerifiedDocument(this.#paths, digest);
      const value = bytes === undefined ? undefined : parsed(() => parse(bytes));
      if (value !== undefined) return value;
      bad.push(digest);
      const state = blobSize(this.#paths, digest) === undefined ? 'is missing' : 'is damaged';
      this.#damage(`image ${owner}: its ${what} ${shortId(digest)} ${state}`);
      return undefined;
    };
    if (entry.target.digest !== key.manifest) read('index', entry.target.digest, parseDocument);
    const manifest = read('manifest', key.manifest, manifestOf);
    const config = read('config', key.id, parseImageConfig);
    if (bad.length > 0) await this.#mend({ kind: 'image', key, owner, blobs: bad });
    if (manifest !== undefined && config !== undefined)
      this.#note(manifest, config, { owner, isExpected: entry.isWhole !== true });
  }

  /** By the name that it has in the store, or will have when it is unpacked. */
  #note(
    manifest: Manifest,
    config: ImageConfig,
    { owner, isExpected }: { readonly owner: string; readonly isExpected: boolean },
  ): void {
    const diffIds = config.rootfs.diff_ids;
    for (const [position, descriptor] of manifest.layers.entries()) {
      const diffId = diffIds[position];
      if (diffId === undefined) continue;
      const name = `${layerName(this.#paths, diffIds, position) ?? diffId} ${descriptor.digest}`;
      const known = this.#layers.get(name);
      if (known === undefined) {
        this.#layers.set(name, { descriptor, diffIds, position, owners: new Set([owner]), isExpected });
        continue;
      }
      known.owners.add(owner);
      known.isExpected ||= isExpected;
    }
  }

  async #checkLayer(layer: CheckedLayer): Promise<void> {
    const { descriptor, diffIds, position } = layer;
    const name = layerName(this.#paths, diffIds, position);
    const hasBlob = await this.#hasBlob(layer, name === undefined);
    if (name === undefined) {
      if (!layer.isExpected) return;
      this.#damage(`${titleOf(layer)}: it is not unpacked`);
      await this.#mend({ kind: 'layer', layer, hasBlob });
    } else if (this.#options.quick === true) {
      if (parsed(() => readLayerRecord(this.#paths, name)) !== undefined) return;
      this.#damage(`${titleOf(layer)}: its record is missing or damaged`);
      await this.#mend({ kind: 'layer', layer, hasBlob });
    } else if (hasBlob) {
      await this.#compare(layer, name);
    }
    this.#verified.add(descriptor.digest);
  }

  /** There, and of the size that the manifest says; with `thorough`, verified at once: a layer is to be made of it. */
  async #hasBlob(
    { descriptor: { digest, size }, owners }: CheckedLayer,
    thorough: boolean,
  ): Promise<boolean> {
    const found = blobSize(this.#paths, digest);
    let problem: string | undefined;
    if (found === undefined) problem = 'it is missing';
    else if (found !== size) problem = `it has ${found} bytes, expected ${size}`;
    else if (thorough && this.#options.quick !== true) problem = await this.#wrongContent(digest);
    if (problem === undefined) return true;
    if (this.#verified.has(digest)) return false;
    this.#verified.add(digest);
    await this.#badBlob({ digest, size, owners }, problem);
    return false;
  }

  async #compare(layer: CheckedLayer, name: Digest): Promise<void> {
    const { descriptor, diffIds, position, owners } = layer;
    const diffId = diffIds[position];
    if (diffId === undefined) return;
    const { unpackerPath: unpacker, signal } = this.#options;
    const blobFd = openSync(this.#paths.blob(descriptor.digest), 'r');
    try {
      const layerDir = this.#paths.layerFs(name);
      const common = { unpacker, layerDir, blobFd, descriptor, diffId };
      const { count, first } = await verifyLayer({ ...common, ...(signal === undefined ? {} : { signal }) });
      const hasRecord = parsed(() => readLayerRecord(this.#paths, name)) !== undefined;
      if (count === 0 && hasRecord) return;
      for (const { path, what } of first) this.#damage(`${titleOf(layer)}: "${path || '.'}" ${what}`);
      if (count > first.length) this.#damage(`${titleOf(layer)}: ${count - first.length} more files differ`);
      if (!hasRecord) this.#damage(`${titleOf(layer)}: its record is missing or damaged`);
      await this.#mend({ kind: 'layer', layer, hasBlob: true });
    } catch (error) {
      if (!isUnpackError(error) || ['io', 'space'].includes(error.failure)) throw error;
      const { digest, size } = descriptor;
      await this.#badBlob({ digest, size, owners }, error.message);
    } finally {
      closeSync(blobFd);
    }
  }

  /** A blob that no layer was compared with. */
  async #checkUnknown(digest: Digest): Promise<void> {
    const problem = await this.#wrongContent(digest);
    const size = blobSize(this.#paths, digest) ?? 0;
    if (problem !== undefined) await this.#badBlob({ digest, size, owners: new Set() }, problem);
  }

  async #wrongContent(digest: Digest): Promise<string | undefined> {
    try {
      const hash = createHash('sha256');
      const options = {
        highWaterMark: 1 << 20,
        ...(this.#options.signal ? { signal: this.#options.signal } : {}),
      };
      for await (const chunk of createReadStream(this.#paths.blob(digest), options)) hash.update(chunk);
      const found = `sha256:${hash.digest('hex')}`;
      return found === digest ? undefined : `its digest is ${found}`;
    } catch (error) {
      const code = errorCode(error);
      // Gone meanwhile: a removal of a name needs no lease.
      if (code === 'ENOENT') return undefined;
      if (code !== 'EIO') throw error;
      return 'it cannot be read: EIO';
    }
  }

  async #badBlob(blob: Omit<Extract<Trouble, { kind: 'blob' }>, 'kind'>, problem: string): Promise<void> {
    this.#damage(`blob ${shortId(blob.digest)}${ofOwners(blob.owners)}: ${problem}`);
    await this.#mend({ kind: 'blob', ...blob });
  }

  #damage(text: string): void {
    this.#damages += 1;
    this.#options.onFinding({ kind: 'damage', text });
  }

  async #mend(trouble: Trouble): Promise<void> {
    if (this.#options.repair !== true) {
      this.#left += 1;
      return;
    }
    const finding = await this.#repair(trouble);
    if (finding.kind === 'kept') this.#left += 1;
    this.#options.onFinding(finding);
  }
}

function nameOf({ name }: IndexEntry, { id }: ImageKey): string {
  return name === undefined ? shortId(id) : familiarName(parseReference(name));
}

function manifestOf(bytes: Buffer): Manifest | undefined {
  const document = parseDocument(bytes);
  return document.kind === 'manifest' ? document.manifest : undefined;
}

/** Undefined where a document is not what it should be. */
function parsed<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof TinyrunError) return undefined;
    throw error;
  }
}
