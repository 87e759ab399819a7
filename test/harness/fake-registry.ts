import type { Digest } from '../../src/oci/digest.ts';
import type { Descriptor } from '../../src/oci/image-spec.ts';
import { RegistryError } from '../../src/registry/errors.ts';
import { canonicalName, type Reference } from '../../src/registry/reference.ts';
import type { BlobBody, FetchedManifest, Registry } from '../../src/registry/registry.ts';
import { DEFAULT_RETRY, retrying } from '../../src/registry/retry.ts';
import { type BuiltImage, digestOf } from './images.ts';

/** What a registry does wrong, per blob. */
export interface Fault {
  /** Breaks the connection off after this many bytes of each answer, so many times (default always). */
  readonly cutAfter?: number;
  readonly times?: number;
  /** Answers every request from the first byte. */
  readonly ignoresRange?: boolean;
  /** Flips a bit in the first so many answers. */
  readonly corrupt?: number;
  /** Never sends a byte. */
  readonly stalls?: boolean;
}

/** A registry in memory that counts what it sends. */
export class FakeRegistry implements Registry {
  readonly #images = new Map<string, BuiltImage>();
  readonly #blobs = new Map<Digest, Buffer>();
  readonly faults = new Map<Digest, Fault>();
  /** Bytes sent, per blob. */
  readonly sent = new Map<Digest, number>();
  /** Blob requests, with their offsets, in order. */
  readonly requests: { digest: Digest; offset: number }[] = [];
  /** GETs of manifests. */
  manifestRequests = 0;
  /** False: answers no HEAD, like some registries. */
  knowsHead = true;
  chunkSize = 16 * 1024;
  /** Called before each chunk. */
  beforeChunk: () => void | Promise<void> = () => {};

  /** @param name canonical: `docker.io/library/busybox:latest` */
  publish(name: string, image: BuiltImage): void {
    this.#images.set(name, image);
    for (const [digest, bytes] of image.blobs) this.#blobs.set(digest, bytes);
  }

  async manifest(reference: Reference): Promise<FetchedManifest> {
    this.manifestRequests += 1;
    const image = this.#find(reference);
    const { mediaType, digest } = image.target.descriptor;
    return { bytes: image.target.bytes, mediaType, digest };
  }

  async manifestByDigest(
    _: Reference,
    descriptor: { digest: Digest; mediaType: string },
  ): Promise<FetchedManifest> {
    this.manifestRequests += 1;
    return {
      bytes: this.#blob(descriptor.digest),
      mediaType: descriptor.mediaType,
      digest: descriptor.digest,
    };
  }

  async headManifest(reference: Reference) {
    return this.knowsHead ? this.#find(reference).target.descriptor : undefined;
  }

  async blob(_: Reference, descriptor: { digest: Digest; size: number }, offset: number): Promise<BlobBody> {
    const { digest } = descriptor;
    this.requests.push({ digest, offset });
    const fault = this.faults.get(digest) ?? {};
    const start = fault.ignoresRange === true ? 0 : offset;
    let closed: (() => void) | undefined;
    const silence = new Promise<never>((_resolve, reject) => {
      closed = () => reject(new RegistryError('unavailable', 'closed', { retry: 'always' }));
    });
    silence.catch(() => {});
    return { start, body: this.#chunks(digest, start, silence), close: () => closed?.() };
  }

  async blobBytes(_: Reference, descriptor: { digest: Digest }): Promise<Uint8Array> {
    const bytes = this.#blob(descriptor.digest);
    if (digestOf(bytes) !== descriptor.digest)
      throw new RegistryError('invalid', 'wrong digest', { retry: 'once' });
    return bytes;
  }

  async expand(_: string, reference: Reference): Promise<Reference[]> {
    return [reference];
  }

  async referrers(): Promise<readonly Descriptor[]> {
    return [];
  }

  async tags(): Promise<string[]> {
    return [];
  }

  retrying: Registry['retrying'] = (attempt, watch) =>
    retrying(attempt, { ...DEFAULT_RETRY, base: 1, longest: 2 }, watch);

  close(): void {}

  #find(reference: Reference): BuiltImage {
    const image = this.#images.get(canonicalName(reference));
    if (image === undefined)
      throw new RegistryError('not_found', `manifest for ${canonicalName(reference)} not found`);
    return image;
  }

  #blob(digest: Digest): Buffer {
    const bytes = this.#blobs.get(digest);
    if (bytes === undefined) throw new RegistryError('not_found', `blob unknown: ${digest}`);
    return bytes;
  }

  async *#chunks(digest: Digest, start: number, silence: Promise<never>): AsyncGenerator<Uint8Array> {
    const fault = this.faults.get(digest) ?? {};
    const bytes = Buffer.from(this.#blob(digest));
    const { times = Number.POSITIVE_INFINITY, corrupt = 0 } = fault;
    if (fault.stalls === true) await silence;
    if (corrupt > 0) bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
    const isCut = fault.cutAfter !== undefined && times > 0;
    this.faults.set(digest, { ...fault, times: times - (isCut ? 1 : 0), corrupt: Math.max(0, corrupt - 1) });
    const end = isCut ? Math.min(start + (fault.cutAfter ?? 0), bytes.length) : bytes.length;
    for (let at = start; at < end; at += this.chunkSize) {
      await this.beforeChunk();
      const chunk = bytes.subarray(at, Math.min(at + this.chunkSize, end));
      this.sent.set(digest, (this.sent.get(digest) ?? 0) + chunk.length);
      yield chunk;
    }
    if (end < bytes.length) throw new RegistryError('unavailable', 'connection reset', { retry: 'always' });
  }
}
