import { type Digest, shortId } from '../oci/digest.ts';
import type { Descriptor } from '../oci/image-spec.ts';
import type { ImageKey } from './index-file.ts';
import type { ContainerUse } from './removal.ts';

export interface CheckOptions {
  /** The native unpacker. */
  readonly unpackerPath: string;
  /** Restores what can be restored, and drops what cannot. */
  readonly repair?: boolean;
  /** Documents, sizes and what must be there; not the content of blobs and layers. */
  readonly quick?: boolean;
  readonly uses: () => readonly ContainerUse[];
  /** Told each damage and each repair as a line, when it is found or done. */
  readonly onFinding: (finding: Finding) => void;
  readonly signal?: AbortSignal;
}

export interface Finding {
  readonly kind: 'damage' | 'repaired' | 'dropped' | 'kept';
  /** `layer 4b5e3f3f9c27 of busybox:latest: "bin/sh" has another content`. */
  readonly text: string;
}

/** A layer of the store with the blob that it was made of. */
export interface CheckedLayer {
  readonly descriptor: Descriptor;
  readonly diffIds: readonly Digest[];
  readonly position: number;
  /** The images that have it, as people know them. */
  readonly owners: Set<string>;
  /** False where all of them were pushed or copied here: they are unpacked when a container is made of them. */
  isExpected: boolean;
}

/** One thing that is not as it should be, and what can be done about it. */
export type Trouble =
  | {
      readonly kind: 'image';
      readonly key: ImageKey;
      readonly owner: string;
      readonly blobs: readonly Digest[];
    }
  | {
      readonly kind: 'blob';
      readonly digest: Digest;
      readonly owners: ReadonlySet<string>;
      readonly size: number;
    }
  | { readonly kind: 'layer'; readonly layer: CheckedLayer; readonly hasBlob: boolean };

export function titleOf({ diffIds, position, owners }: CheckedLayer): string {
  const diffId = diffIds[position];
  return `layer ${diffId === undefined ? position : shortId(diffId)}${ofOwners(owners)}`;
}

/** ` of a, b`; nothing where nobody has it. */
export function ofOwners(owners: ReadonlySet<string>): string {
  return owners.size === 0 ? '' : ` of ${[...owners].join(', ')}`;
}
