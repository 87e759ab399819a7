import type { Paths } from '../disk/paths.ts';
import { pathsOf } from '../disk/paths.ts';
import { TinyrunError } from '../errors.ts';
import type { Digest } from '../oci/digest.ts';
import { canonicalName, parseReference, type Reference, withDefaultTag } from '../registry/reference.ts';
import { type PushEvent, push, storedBlobs } from './push.ts';
import { type PushPlan, planPush } from './push-plan.ts';

export interface ExportImageInput {
  /** Of the store that has its blobs; the caller holds a lease. */
  readonly paths: Paths;
  /** `targetDigest` is the index of an image for several platforms, else the same. */
  readonly image: { readonly manifestDigest: Digest; readonly targetDigest: Digest };
  readonly format: 'oci' | 'docker';
  /** Absolute: the archive, or with `tar` false the directory of the layout. */
  readonly dest: string;
  readonly tar: boolean;
  /** As the user typed it. */
  readonly name?: string;
  readonly onEvent?: (event: PushEvent) => void;
  readonly signal?: AbortSignal;
}

/** Writes an image of the store as an OCI image layout; `docker` adds what `docker load` of any age reads. */
export async function exportImage(input: ExportImageInput): Promise<void> {
  const { paths, image, format, dest, tar } = input;
  const plan = planPush(paths, image, true);
  if (format === 'docker' && plan.manifests.length > 0)
    throw new TinyrunError(
      'unsupported',
      'docker exporter does not currently support exporting manifest lists',
    );
  const name = input.name === undefined ? undefined : withDefaultTag(parseReference(input.name));
  const common = {
    ...(name?.tag === undefined ? {} : { tag: name.tag }),
    ...(input.signal === undefined ? {} : { signal: input.signal }),
  };
  if (!tar) {
    const { layoutPusher } = await import('./layout-pusher.ts');
    const layout = pathsOf({ root: dest, runRoot: paths.runRoot });
    const pusher = layoutPusher({ paths: layout, top: plan.top.digest, ...common });
    try {
      await send(input, plan, pusher, name);
    } finally {
      pusher.close();
    }
    return;
  }
  const { archivePusher } = await import('./archive-pusher.ts');
  const docker = format === 'docker' ? { docker: { name: name ?? null } } : {};
  const named = name === undefined ? {} : { name: canonicalName(name) };
  const pusher = archivePusher({ path: dest, top: plan.top, ...docker, ...named, ...common });
  try {
    // The members of an archive come one after the other.
    await send(input, plan, pusher, name, 1);
    await pusher.finish();
  } finally {
    pusher.close();
  }
}

async function send(
  { paths, onEvent = () => {} }: ExportImageInput,
  plan: PushPlan,
  pusher: Parameters<typeof push>[0]['pusher'],
  name: Reference | undefined,
  jobs?: number,
): Promise<void> {
  await push({
    blobs: storedBlobs(paths),
    mounts: new Map(),
    pusher,
    reference: name ?? { registry: 'archive', repository: 'image', digest: plan.top.digest },
    plan,
    onEvent,
    ...(jobs === undefined ? {} : { jobs }),
  });
}
