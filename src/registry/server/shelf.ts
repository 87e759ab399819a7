import type { Digest } from '../../oci/digest.ts';
import type { Descriptor } from '../../oci/image-spec.ts';
import type { ServedManifest } from './served-manifest.ts';

/** What a registry server serves: repositories with tags, over blobs that they share. */
export interface Shelf {
  /** Their names, such as `library/busybox`, sorted. */
  repositories(): string[];
  /** Undefined: no such repository. */
  repository(name: string): ShelfRepository | undefined;
  /** Absent: everything here is for reading only. */
  readonly writer?: ShelfWriter;
}

export interface ShelfRepository {
  readonly tags: ReadonlyMap<string, Descriptor>;
  /** Everything that a tag or a digest names directly, artifacts too. */
  readonly targets: readonly Descriptor[];
  /** Where a blob or manifest of this digest is, if it is there. */
  blobPath(digest: Digest): string;
}

/** The changing side of a shelf. All that it acknowledges is on the disk, whole and verified. */
export interface ShelfWriter {
  /** Where a blob is, whatever repository it came by: they share them. */
  blobPath(digest: Digest): string;
  /** Undefined where too many uploads are under way. */
  begin(): Upload | undefined;
  upload(id: string): Promise<Upload | undefined>;
  /** Keeps the collector from blobs that no manifest names yet, for some minutes. */
  reserve(): Promise<void>;
  /** Names a manifest whose parts are there by its tags, or by its digest alone where there is none. */
  putManifest(put: PutManifest): Promise<void>;
  removeTag(repository: string, tag: string): Promise<Removal>;
  /** With all tags that name it. */
  removeManifest(repository: string, digest: Digest): Promise<Removal>;
  removeBlob(digest: Digest): Promise<Removal>;
  close(): Promise<void>;
}

/** `foreign`: it is the host's, or something else needs it. */
export type Removal = 'removed' | 'unknown' | 'foreign';

export interface PutManifest {
  readonly repository: string;
  readonly tags: readonly string[];
  readonly digest: Digest;
  readonly bytes: Uint8Array;
  readonly manifest: ServedManifest;
}

/** Bytes on their way to becoming a blob. Its calls wait for each other. */
export interface Upload {
  /** A UUID. */
  readonly id: string;
  /** Bytes that are there. */
  offset(): Promise<number>;
  /**
   * Adds bytes; those that came before the stream broke off stay.
   * @param first where they belong; undefined: at the end
   * @returns false, nothing added, where that is not the end
   */
  append(chunks: AsyncIterable<Uint8Array>, first: number | undefined): Promise<boolean>;
  /** Makes it a blob. @returns false, and the upload is gone, where the bytes have another digest */
  finish(digest: Digest): Promise<boolean>;
  cancel(): Promise<void>;
}
