import { TinyrunError } from '../errors.ts';
import type { PullForecast } from '../image/pull-check.ts';
import type { PullEvent } from '../image/pull-events.ts';
import type { Store } from '../image/store.ts';
import type { StoredImage } from '../image/stored-image.ts';
import { unpackProgram } from '../native/library.ts';
import type { Digest } from '../oci/digest.ts';
import type { Platform } from '../oci/image-spec.ts';
import type { Reference } from '../registry/reference.ts';
import type { Registry } from '../registry/registry.ts';
import type { Core } from './core.ts';
import { imageEvent } from './events.ts';
import { type Patience, registryOptions, retryOptions } from './registry-options.ts';

export interface PullHow extends Patience {
  readonly platform?: string;
  readonly onEvent?: (event: PullEvent) => void;
  readonly signal?: AbortSignal;
  /** A signature policy in place of the user's or the machine's. */
  readonly signaturePolicy?: string;
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
  const [{ pull }, { signatureChecker }, { familiarName, familiarRepository, withDefaultTag }] =
    await Promise.all([
      import('../image/pull.ts'),
      import('./signature-policy.ts'),
      import('../registry/reference.ts'),
    ]);
  const verify = signatureChecker(core, how.signaturePolicy);
  return whereItIs(core, text, how, async ({ store, registry, reference, platform }) => {
    const pulled = await pull(store, registry, reference, {
      ...(platform === undefined ? {} : { platform }),
      onEvent: how.onEvent ?? (() => {}),
      ...(how.signal === undefined ? {} : { signal: how.signal }),
      unpackerPath: unpackProgram(),
      verify: (chosen) => verify(registry, withDefaultTag(reference), chosen),
    });
    await imageEvent(core, 'pull', familiarName(reference), familiarRepository(reference));
    how.onEvent?.({ type: 'end', reference, digest: pulled.digest, status: pulled.status });
    return pulled;
  });
}

/** `pull --dry-run`: what a pull would do now; nothing is kept of what is asked for it. */
export async function forecastImage(core: Core, text: string, how: PullHow = {}): Promise<PullForecast> {
  const { forecastPull } = await import('../image/pull-check.ts');
  return whereItIs(core, text, how, ({ store, registry, reference, platform }) =>
    forecastPull(store, registry, reference, platform),
  );
}

interface Place {
  readonly store: Store;
  readonly registry: Registry;
  readonly reference: Reference;
  readonly platform: Platform | undefined;
}

/** Does something with what a name stands for: the first of the references that the user's configuration makes of it. */
async function whereItIs<T>(
  core: Core,
  text: string,
  how: PullHow,
  action: (place: Place) => Promise<T>,
): Promise<T> {
  const [{ openRegistry }, { parseReference }, { parsePlatform }] = await Promise.all([
    import('../registry/registry.ts'),
    import('../registry/reference.ts'),
    import('../registry/platform.ts'),
  ]);
  const store = await core.store();
  const registry = openRegistry({ ...registryOptions(core, how.signal), ...retryOptions(how) });
  try {
    const platform = how.platform === undefined ? undefined : parsePlatform(how.platform, store.host);
    const candidates = await registry.expand(text, parseReference(text));
    for (const [index, reference] of candidates.entries()) {
      try {
        return await action({ store, registry, reference, platform });
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
