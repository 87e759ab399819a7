import { TinyrunError } from '../errors.ts';
import type { Op, Propagation } from '../native/plan.ts';
import type { Linux, Spec } from '../oci/runtime-spec.ts';
import { isPropagation } from './mount-options.ts';

export interface OverlayInput {
  /** Top layer first. */
  readonly lower: readonly string[];
  readonly upper: string;
  readonly work: string;
  readonly options?: readonly string[];
}

/** The container's root on `root.path`: the layers, or where there are none the directory itself. */
export function rootOps(spec: Spec, overlay: OverlayInput | undefined): Op[] {
  const { path } = spec.root;
  return [
    // A slave by default, as runc: what the host unmounts is not kept busy by us, and nothing of ours gets out.
    {
      op: 'rootPropagation',
      what: 'detach the mounts from the host',
      propagation: hostPropagation(spec.linux.rootfsPropagation),
    },
    overlay === undefined
      ? { op: 'bindRoot', what: `use "${path}" as the root`, source: path }
      : {
          op: 'overlay',
          what: 'mount the image',
          lower: overlay.lower,
          upper: overlay.upper,
          work: overlay.work,
          options: overlay.options ?? [],
          target: path,
        },
  ];
}

/** Of the host's mounts as the container's namespace has them, while its own are made: shared ones stay so only where asked for. */
function hostPropagation(rootfs: string | undefined): Propagation {
  if (rootfs === 'shared' || rootfs === 'rshared') return rootfs;
  return rootfs === 'private' || rootfs === 'rprivate' ? 'rprivate' : 'rslave';
}

/**
 * Of the root itself, after the pivot: it is private so far.
 * @throws TinyrunError `invalid` for a word that is none
 */
export function propagationOps({ rootfsPropagation: propagation }: Linux): Op[] {
  if (propagation === undefined || propagation.endsWith('private')) return [];
  if (!isPropagation(propagation)) {
    throw new TinyrunError(
      'invalid',
      `Cannot start the container: rootfs propagation "${propagation}" is unknown`,
    );
  }
  return [{ op: 'rootPropagation', what: `make the root ${propagation}`, propagation }];
}
