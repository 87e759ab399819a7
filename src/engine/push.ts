import { TinyrunError } from '../errors.ts';
import type { PushEvent } from '../image/push.ts';
import type { StoredImage } from '../image/stored-image.ts';
import type { Digest } from '../oci/digest.ts';
import {
  canonicalName,
  canonicalRepository,
  familiarName,
  familiarRepository,
  parseReference,
  type Reference,
  withDefaultTag,
} from '../registry/reference.ts';
import type { Core } from './core.ts';
import { imageEvent } from './events.ts';
import { registryOptions } from './registry-options.ts';

export interface PushHow {
  /** Every tag of the repository that the store has. */
  readonly allTags?: boolean;
  /** The index with all images that the store has of it, in place of one image's manifest. */
  readonly allPlatforms?: boolean;
  /** Which image of an index; default: this machine's. */
  readonly platform?: string;
  readonly onEvent?: (event: PushEvent) => void;
  readonly signal?: AbortSignal;
}

export interface PushedImage {
  /** Canonical. */
  readonly name: string;
  readonly digest: Digest;
}

/**
 * Pushes an image under the name it has. Manifests are sent byte for byte: what was pulled keeps its digest.
 * @throws TinyrunError `invalid` (reference), `not_found`, `unauthorized`, `unavailable`
 */
export async function pushImage(core: Core, text: string, how: PushHow = {}): Promise<PushedImage[]> {
  const [{ openPusher }, { push, storedBlobs }, { mountSources, planPush }, { parsePlatform }] =
    await Promise.all([
      import('../registry/push-client.ts'),
      import('../image/push.ts'),
      import('../image/push-plan.ts'),
      import('../registry/platform.ts'),
    ]);
  const store = await core.store();
  const typed = parseReference(text);
  const onEvent = how.onEvent ?? (() => {});
  const platform = how.platform === undefined ? undefined : parsePlatform(how.platform, store.host);
  const references = referencesToPush(typed, store.list(), how.allTags ?? false);
  const pusher = openPusher(typed, registryOptions(core, how.signal));
  // Nobody may collect what is read here.
  const lease = await store.lease();
  try {
    const pushed: PushedImage[] = [];
    onEvent({ type: 'start', reference: typed });
    for (const reference of references) {
      const image = store.resolve(canonicalName(reference), platform);
      if (image === undefined) throw noSuchTag(reference, store.list());
      const plan = planPush(store.paths, image, how.allPlatforms ?? false);
      if (plan.platforms !== undefined && plan.platforms.present < plan.platforms.total)
        onEvent({ type: 'partial', ...plan.platforms });
      const mounts = mountSources(store.paths, reference);
      await push({ blobs: storedBlobs(store.paths), mounts, pusher, reference, plan, onEvent });
      const { digest, mediaType, bytes } = plan.top;
      await imageEvent(core, 'push', familiarName(reference), familiarRepository(reference));
      pushed.push({ name: canonicalName(reference), digest });
      if (digest !== image.targetDigest) continue;
      // From now on the repository has it: a repo digest, and a place to mount from.
      await store.add({
        name: canonicalName(reference),
        pulledFrom: canonicalRepository(reference),
        target: { mediaType, digest, size: bytes.byteLength },
        key: { manifest: image.manifestDigest, id: image.id },
        preferred: false,
      });
    }
    return pushed;
  } catch (error) {
    if (how.signal?.aborted === true)
      throw new TinyrunError('unavailable', 'context canceled', { cause: error });
    throw error;
  } finally {
    lease.release();
    pusher.close();
  }
}

function referencesToPush(typed: Reference, images: readonly StoredImage[], allTags: boolean): Reference[] {
  if (typed.digest !== undefined) throw new TinyrunError('invalid', 'cannot push a digest reference');
  if (!allTags) return [withDefaultTag(typed)];
  if (typed.tag !== undefined) {
    throw new TinyrunError('invalid', "tag can't be used with --all-tags/-a");
  }
  const found = namesIn(typed, images);
  if (found.length === 0) throw noSuchTag(typed, images);
  return found;
}

function namesIn(reference: Reference, images: readonly StoredImage[]): Reference[] {
  const repository = canonicalRepository(reference);
  return images
    .flatMap(({ references }) => references)
    .map(parseReference)
    .filter((one) => one.digest === undefined && canonicalRepository(one) === repository)
    .sort((a, b) => ((a.tag ?? '') < (b.tag ?? '') ? -1 : 1));
}

/** Docker's two sentences. */
function noSuchTag(reference: Reference, images: readonly StoredImage[]): TinyrunError {
  return namesIn(reference, images).length === 0
    ? new TinyrunError(
        'not_found',
        `An image does not exist locally with the tag: ${familiarRepository(reference)}`,
      )
    : new TinyrunError('not_found', `tag does not exist: ${familiarName(reference)}`);
}
