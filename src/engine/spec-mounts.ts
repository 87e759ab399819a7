import { TinyrunError } from '../errors.ts';
import type { Mount } from '../oci/runtime-spec.ts';
import { DEFAULT_MOUNTS, DEFAULT_SHM_SIZE } from '../runtime/defaults.ts';
import { tmpfsOptions } from '../runtime/mount-options.ts';
import type { CreateOptions, MountRequest } from './options.ts';
import { cleanPath } from './spec-process.ts';

/** Host paths of the files that a container gets of its own; undefined: the image's stays. */
export interface EtcFiles {
  readonly hosts?: string;
  readonly hostname?: string;
  readonly resolvConf?: string;
}

/**
 * Docker's default mounts, those of them that the user's replace taken out, then the files of /etc and the user's mounts,
 * parents before children.
 * @throws TinyrunError `invalid` for a target that is taken twice or impossible
 */
export function specMounts(options: CreateOptions, etc: EtcFiles): Mount[] {
  const requested = options.mounts.map(mountOf);
  const targets = new Set<string>();
  for (const { destination } of requested) {
    if (targets.has(destination)) throw new TinyrunError('invalid', `Duplicate mount point: ${destination}`);
    targets.add(destination);
  }
  const files = etcMounts(etc, options.readonlyRootfs).filter((mount) => !targets.has(mount.destination));
  const defaults = DEFAULT_MOUNTS.flatMap((mount) => defaultMount(mount, options)).filter(
    ({ destination }) =>
      !targets.has(destination) && !(targets.has('/dev') && destination.startsWith('/dev/')),
  );
  // A stable sort: equally deep ones stay as given.
  const own = [...files, ...requested].sort((a, b) => depth(a.destination) - depth(b.destination));
  const mounts = options.readonlyRootfs ? [...defaults.map(readonlyDefault), ...own] : [...defaults, ...own];
  return options.privileged ? mounts.map(writableForPrivileged) : mounts;
}

function defaultMount(mount: Mount, options: CreateOptions): Mount[] {
  if (mount.destination !== '/dev/shm') return [mount];
  // The other container's, bound by an op of its own: its mount can be taken only from inside of its namespace.
  if (options.ipcMode === 'none' || options.ipcMode.startsWith('container:')) return [];
  if (options.ipcMode === 'host') {
    return [{ destination: '/dev/shm', type: 'bind', source: '/dev/shm', options: ['rbind', 'rprivate'] }];
  }
  const size = options.shmSize ?? DEFAULT_SHM_SIZE;
  return [{ ...mount, options: [...(mount.options ?? []), `size=${size}`] }];
}

/** With a read-only root everything is but what programs must be able to write to. */
function readonlyDefault(mount: Mount): Mount {
  const stays = ['/proc', '/dev/pts', '/dev/shm', '/dev/mqueue', '/dev'].includes(mount.destination);
  const options = mount.options ?? [];
  return stays || options.includes('ro') ? mount : { ...mount, options: [...options, 'ro'] };
}

function writableForPrivileged(mount: Mount): Mount {
  if (mount.destination !== '/sys' && mount.type !== 'cgroup') return mount;
  return { ...mount, options: (mount.options ?? []).filter((option) => option !== 'ro') };
}

function etcMounts(etc: EtcFiles, readonly: boolean): Mount[] {
  const files: readonly (readonly [string, string | undefined])[] = [
    ['/etc/resolv.conf', etc.resolvConf],
    ['/etc/hostname', etc.hostname],
    ['/etc/hosts', etc.hosts],
  ];
  return files.flatMap(([destination, source]) =>
    source === undefined
      ? []
      : [{ destination, type: 'bind', source, options: ['rbind', 'rprivate', ...(readonly ? ['ro'] : [])] }],
  );
}

/** Options of `-v` and `--mount` that have no meaning here: labels for SELinux, hints for other systems. */
const WITHOUT_EFFECT: ReadonlySet<string> = new Set([
  'rw',
  'z',
  'Z',
  'nocopy',
  'consistent',
  'cached',
  'delegated',
]);

function mountOf(request: MountRequest): Mount {
  const destination = targetOf(request);
  if (request.type === 'tmpfs') {
    return { destination, type: 'tmpfs', source: 'tmpfs', options: tmpfsOptions(request.options) };
  }
  if (request.type === 'volume')
    throw new TinyrunError('internal', `volume at "${destination}" without a directory`);
  const rest = request.options.filter((option) => !WITHOUT_EFFECT.has(option));
  // Read-only means all that is mounted below as well, since Docker 25; `bind-recursive=writable` opts out.
  const plain = rest.includes('ro-nonrecursive') || !request.recursive;
  const readonly = request.readonly || rest.includes('ro') || rest.includes('rro');
  return {
    destination,
    type: 'bind',
    source: request.source,
    options: [
      request.recursive ? 'rbind' : 'bind',
      ...(readonly ? [plain ? 'ro' : 'rro'] : []),
      request.propagation || 'rprivate',
      ...rest.filter((option) => !['ro', 'rro', 'ro-nonrecursive'].includes(option)),
    ],
  };
}

function targetOf(request: MountRequest): string {
  if (!request.target.startsWith('/')) {
    throw new TinyrunError(
      'invalid',
      `invalid mount config for type "${request.type}": invalid mount path: '${request.target}' mount path must be absolute`,
    );
  }
  const target = cleanPath(request.target);
  if (target === '/') {
    throw new TinyrunError(
      'invalid',
      `invalid mount config for type "${request.type}": invalid specification: destination can't be '/'`,
    );
  }
  return target;
}

function depth(path: string): number {
  return path.split('/').length;
}
