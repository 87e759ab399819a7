import type { CheckedStore } from '../image/check.ts';
import type { Finding } from '../image/trouble.ts';
import { unpackProgram } from '../native/library.ts';
import type { Core } from './core.ts';
import { usesOf } from './images.ts';

export interface CheckHow {
  /** Restores what can be restored, and drops what cannot. */
  readonly repair?: boolean;
  /** Not the content of blobs and layers. */
  readonly quick?: boolean;
  readonly onFinding?: (finding: Finding) => void;
  readonly signal?: AbortSignal;
}

/** `system check`. @throws TinyrunError `internal` where the index itself is damaged */
export async function checkStore(core: Core, how: CheckHow = {}): Promise<CheckedStore> {
  const check = await import('../image/check.ts');
  return await check.checkStore(await core.store(), {
    ...how,
    onFinding: how.onFinding ?? (() => {}),
    unpackerPath: unpackProgram(),
    uses: await usesOf(core),
  });
}
