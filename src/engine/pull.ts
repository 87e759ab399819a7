import { TinyrunError } from '../errors.ts';
import type { PullEvent } from '../image/pull-events.ts';
import type { StoredImage } from '../image/stored-image.ts';
import { unpackProgram } from '../native/library.ts';
import type { Digest } from '../oci/digest.ts';
import type { Core } from './core.ts';
import { imageEvent } from './events.ts';
import { registryOptions } from './registry-options.ts';

export interface PullHow {
  readonly platform?: string;
  readonly onEvent?: (event: PullEvent) => void;
  readonly signal?: AbortSignal;
}

export interface Pulled {
  readonly image: StoredImage;
  readonly digest: Digest;
  readonly status: 'downloaded' | 'up-to-date';
}

/**
 * Pulls an image. Everything of the network is loaded here and nowhere on the path of a container whose image is there.
 * @throws TinyrunError `invalid` (reference), `not_found`, `unauthorized`, `unavailable`
 */
export async function pullImage(core: Core, text: string, how: PullHow = {}): Promise<Pulled> {
  const [{ pull }, { openRegistry }, references, { parsePlatform }] = await Promise.all([
    import('../image/pull.ts'),
    import('../registry/registry.ts'),
    import('../registry/reference.ts'),
    import('../registry/platform.ts'),
  ]);
  const store = await core.store();
  const registry = openRegistry(registryOptions(core, how.signal));
  try {
    const platform = how.platform === undefined ? undefined : parsePlatform(how.platform, store.host);
    const candidates = await registry.expand(text, references.parseReference(text));
    for (const [index, reference] of candidates.entries()) {
      try {
        const pulled = await pull(store, registry, reference, {
          ...(platform === undefined ? {} : { platform }),
          onEvent: how.onEvent ?? (() => {}),
          ...(how.signal === undefined ? {} : { signal: how.signal }),
          unpackerPath: unpackProgram(),
        });
        await imageEvent(
          core,
          'pull',
          references.familiarName(reference),
          references.familiarRepository(reference),
        );
        how.onEvent?.({ type: 'end', reference, digest: pulled.digest, status: pulled.status });
        return pulled;
      } catch (error) {
        const elsewhere = error instanceof TinyrunError && error.kind === 'not_found';
        if (!elsewhere || index === candidates.length - 1) throw error;
      }
    }
    throw new TinyrunError('not_found', `No such image: ${text}`);
  } catch (error) {
    if (how.signal?.aborted === true)
      throw new TinyrunError('unavailable', 'context canceled', { cause: error });
    throw error;
  } finally {
    registry.close();
  }
}
