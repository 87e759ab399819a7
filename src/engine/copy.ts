import { resolve } from 'node:path';
import { pathsOf } from '../disk/paths.ts';
import { TinyrunError } from '../errors.ts';
import { blobsOf, planCopy } from '../image/copy.ts';
import { type Location, parseLocation } from '../image/locations.ts';
import type { ManifestFormat } from '../image/manifest-format.ts';
import type { PullEvent } from '../image/pull-events.ts';
import { type PushEvent, type PushWork, push } from '../image/push.ts';
import type { PushPlan } from '../image/push-plan.ts';
import type { Digest } from '../oci/digest.ts';
import type { Platform } from '../oci/image-spec.ts';
import { parsePlatform } from '../registry/platform.ts';
import { canonicalName, parseReference, type Reference, withDefaultTag } from '../registry/reference.ts';
import { type CopySource, openSource } from './copy-source.ts';
import type { Core } from './core.ts';
import { type Patience, registryOptions, retryOptions } from './registry-options.ts';
import { signatureChecker, type VerifyImage } from './signature-policy.ts';

export interface CopyHow extends Patience {
  /** The index with everything below it; default: the image of one platform. */
  readonly allPlatforms?: boolean;
  /** Which image of an index; default: this machine's. */
  readonly platform?: string;
  /** Allows plain HTTP and certificates that cannot be verified. */
  readonly sourceInsecure?: boolean;
  readonly destinationInsecure?: boolean;
  /** The manifest in another format; default: as it is, with its digest. */
  readonly format?: ManifestFormat;
  /** A signature policy in place of the user's or the machine's, for a source that is a registry. */
  readonly signaturePolicy?: string;
  /** What paths are relative to. */
  readonly cwd?: string;
  readonly onEvent?: (event: PushEvent) => void;
  /** Told instead where the destination is the store. */
  readonly onPullEvent?: (event: PullEvent) => void;
  readonly signal?: AbortSignal;
}

export interface CopiedImage {
  /** What the destination's name points to. */
  readonly digest: Digest;
}

/** @throws TinyrunError `invalid` (a location), `not_found`, `unauthorized`, `unavailable` */
export async function copyImage(
  core: Core,
  from: string,
  to: string,
  how: CopyHow = {},
): Promise<CopiedImage> {
  const [origin, goal] = [parseLocation(from), parseLocation(to)];
  const store = await core.store();
  const verify = origin.kind === 'registry' ? signatureChecker(core, how.signaturePolicy) : undefined;
  const work: Copying = {
    core,
    ...(verify === undefined ? {} : { verify }),
    how,
    platform: how.platform === undefined ? store.host : parsePlatform(how.platform, store.host),
  };
  if (how.format !== undefined && goal.kind === 'store')
    throw new TinyrunError(
      'unsupported',
      'The store keeps manifests as they are: --format is for other destinations',
    );
  if (origin.kind === 'store' && goal.kind === 'store') return tagStored(core, origin.text, goal.text);
  // Nobody may collect what is read here, or what has no name yet.
  const lease = await store.lease();
  const source = await openSource(core, origin, how);
  try {
    return goal.kind === 'store'
      ? await copyIntoStore(work, source, goal.text)
      : await copyOut(work, source, goal);
  } catch (error) {
    if (how.signal?.aborted === true)
      throw new TinyrunError('unavailable', 'context canceled', { cause: error });
    throw error;
  } finally {
    source.close();
    lease.release();
  }
}

interface Copying {
  readonly core: Core;
  readonly verify?: VerifyImage;
  readonly how: CopyHow;
  readonly platform: Platform;
}

async function tagStored(core: Core, from: string, to: string): Promise<CopiedImage> {
  const store = await core.store();
  await store.tag(from, to);
  const image = store.resolve(from);
  if (image === undefined) throw new TinyrunError('not_found', `No such image: ${from}`);
  return { digest: image.targetDigest };
}

/** It goes the way of a pull: what is in the store is unpacked. */
async function copyIntoStore(
  { core, how, platform, verify }: Copying,
  { registry, reference }: CopySource,
  text: string,
): Promise<CopiedImage> {
  const [{ pull }, { platformsIn }, { unpackProgram }] = await Promise.all([
    import('../image/pull.ts'),
    import('../image/copy.ts'),
    import('../native/library.ts'),
  ]);
  const name = canonicalName(withDefaultTag(parseReference(text)));
  const store = await core.store();
  const wanted =
    how.allPlatforms === true
      ? await platformsIn(registry, reference)
      : [how.platform === undefined ? undefined : platform];
  let digest: Digest | undefined;
  for (const one of wanted) {
    const pulled = await pull(store, registry, reference, {
      ...(one === undefined ? {} : { platform: one }),
      naming: { name },
      onEvent: how.onPullEvent ?? (() => {}),
      unpackerPath: unpackProgram(),
      ...(how.signal === undefined ? {} : { signal: how.signal }),
      ...(verify === undefined ? {} : { verify: (chosen) => verify(registry, reference, chosen) }),
    });
    how.onPullEvent?.({ type: 'end', reference, digest: pulled.digest, status: pulled.status });
    digest = pulled.digest;
  }
  if (digest === undefined)
    throw new TinyrunError('not_found', `Cannot copy to "${text}": the index has no image`);
  return { digest };
}

async function copyOut(
  work: Copying,
  source: CopySource,
  goal: Exclude<Location, { kind: 'store' }>,
): Promise<CopiedImage> {
  const { how, platform } = work;
  const allPlatforms = how.allPlatforms ?? false;
  const found =
    source.plan?.(allPlatforms) ??
    (await planCopy(source.registry, source.reference, { platform, allPlatforms }));
  const { digest } = found.top;
  await work.verify?.(source.registry, source.reference, { target: digest, manifest: digest });
  const plan = how.format === undefined ? found : await formatted(found, how.format);
  const target = await openTarget(work, goal, plan);
  try {
    await push({
      blobs: source.blobs ?? blobsOf(source.registry, source.reference),
      mounts: mountsOf(source, goal, plan),
      pusher: target.pusher,
      reference: target.reference,
      plan,
      onEvent: how.onEvent ?? (() => {}),
      ...(target.jobs === undefined ? {} : { jobs: target.jobs }),
    });
    await target.finish?.();
    return { digest: plan.top.digest };
  } finally {
    target.pusher.close();
  }
}

async function formatted(plan: PushPlan, format: ManifestFormat): Promise<PushPlan> {
  const { inFormat } = await import('../image/manifest-format.ts');
  return { ...plan, top: inFormat(plan.top, format) };
}

/** Between repositories of one registry nothing is sent that it can take over by itself. */
function mountsOf(source: CopySource, goal: Location, { layers, configs }: PushPlan): PushWork['mounts'] {
  const { repository, registry } = source.reference;
  const isSame = source.isRemote && goal.kind === 'registry' && goal.reference.registry === registry;
  if (!isSame) return new Map();
  return new Map([...layers, ...configs].map(({ digest }) => [digest, [repository]]));
}

interface Target {
  readonly pusher: PushWork['pusher'];
  /** As what the image is put. */
  readonly reference: Reference;
  readonly jobs?: number;
  finish?(): Promise<void>;
}

async function openTarget(
  { core, how }: Copying,
  goal: Exclude<Location, { kind: 'store' }>,
  plan: PushPlan,
): Promise<Target> {
  const signal = how.signal === undefined ? {} : { signal: how.signal };
  if (goal.kind === 'registry') {
    const { openPusher } = await import('../registry/push-client.ts');
    const options = {
      ...registryOptions(core, how.signal),
      ...retryOptions(how),
      ...(how.destinationInsecure === undefined ? {} : { insecure: how.destinationInsecure }),
    };
    return { pusher: openPusher(goal.reference, options), reference: goal.reference };
  }
  const path = resolve(how.cwd ?? '/', goal.path);
  const anonymous: Reference = { registry: 'archive', repository: 'image', digest: plan.top.digest };
  if (goal.kind === 'layout') {
    const { layoutPusher } = await import('../image/layout-pusher.ts');
    const tag = goal.tag === undefined ? {} : { tag: goal.tag };
    const paths = pathsOf({ root: path, runRoot: core.paths.runRoot });
    const pusher = layoutPusher({ paths, top: plan.top.digest, ...tag, ...signal });
    return { pusher, reference: { ...anonymous, ...tag } };
  }
  const { archivePusher } = await import('../image/archive-pusher.ts');
  const isDocker = goal.kind === 'docker-archive';
  if (isDocker && plan.manifests.length > 0)
    throw new TinyrunError('unsupported', 'Cannot copy all platforms into a docker archive: it holds one');
  const tag = isDocker ? goal.name?.tag : goal.tag;
  const pusher = archivePusher({
    path,
    top: plan.top,
    ...(tag === undefined ? {} : { tag }),
    ...(isDocker ? { docker: { name: goal.name ?? null } } : {}),
    ...signal,
  });
  // Its members come one after the other.
  return {
    pusher,
    reference: { ...anonymous, ...(tag === undefined ? {} : { tag }) },
    jobs: 1,
    finish: () => pusher.finish(),
  };
}
