import { parseCgroupParent } from '../cgroups/host.ts';
import type { Paths } from '../disk/paths.ts';

/** The cgroup below which this store's containers have theirs: `/tinyrun`, or with the store's own suffix. */
export function cgroupParentOf(paths: Paths): string {
  return paths.instance === '' ? '/tinyrun' : `/tinyrun-${paths.instance}`;
}

/** The cgroup of one container, below every hierarchy's root. @throws TinyrunError `invalid` for a bad `--cgroup-parent` */
export function cgroupsPathOf(paths: Paths, id: string, parent: string | undefined): string {
  const base = parent === undefined ? cgroupParentOf(paths) : parseCgroupParent(parent);
  return base === '/' ? `/${id}` : `${base}/${id}`;
}
