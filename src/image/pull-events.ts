import type { Digest } from '../oci/digest.ts';
import type { Reference } from '../registry/reference.ts';

/** What pull() tells while it works; only the command line makes text of it. */
export type PullEvent =
  | {
      /** `latest: Pulling from library/busybox`. */
      readonly type: 'start';
      readonly reference: Reference;
      /** Each blob once, from the bottom; sizes in bytes. */
      readonly layers: readonly { readonly digest: Digest; readonly size: number }[];
    }
  | {
      /** `Digest: …`, `Status: …`: the image is in the store. */
      readonly type: 'end';
      readonly reference: Reference;
      readonly digest: Digest;
      readonly status: 'downloaded' | 'up-to-date';
    }
  | ({
      readonly type: 'layer';
      /** The first 12 hex digits of the blob's digest. */
      readonly id: string;
    } & LayerStatus);

/** Docker's words. */
export interface LayerStatus {
  readonly status:
    | 'Pulling fs layer'
    | 'Waiting'
    | 'Downloading'
    | 'Verifying Checksum'
    | 'Download complete'
    | 'Extracting'
    | 'Pull complete'
    | 'Already exists'
    | 'Retrying';
  /** Bytes, while downloading. */
  readonly current?: number;
  readonly total?: number;
  /** Seconds until the next attempt. */
  readonly retrySeconds?: number;
}
