import { resolve } from 'node:path';
import { type Digest, hexOf } from '../oci/digest.ts';

/** The two directories everything lives in: what survives a reboot and what does not. */
export interface Roots {
  /** `--root`, `TINYRUN_ROOT`; default `/var/lib/tinyrun`. */
  readonly root: string;
  /** `--runroot`, `TINYRUN_RUNROOT`; default `/run/tinyrun`. Must be on a tmpfs that a reboot empties. */
  readonly runRoot: string;
}

/**
 * Every path that tinyrun owns, absolute. The only file that knows where things lie.
 * An `id` is a container's 64 hex digits; a `name` has been checked against the name grammar.
 */
export interface Paths extends Roots {
  /**
   * Empty for the default root; else six hex digits of the root's hash. Part of every name that is global to the machine
   * (bridge, nft table, cgroup parent), so that two stores on one machine never touch each other's.
   */
  readonly instance: string;
  /** The OCI image layout: `oci-layout`, `index.json`, `blobs/sha256/<hex>`. */
  readonly ociLayout: string;
  readonly index: string;
  readonly indexLock: string;
  /** Bytes of no meaning, given up where the disk is full and the index has to be written. */
  readonly indexReserve: string;
  /** Held shared by whoever relies on blobs or layers that nothing refers to yet (a pull); exclusive by the collector. */
  readonly storeLease: string;
  readonly blobs: string;
  blob(digest: Digest): string;
  /** Downloads under way or broken off, kept for resuming: `ingest/<hex>`. */
  readonly ingest: string;
  partial(digest: Digest): string;
  /** What a client of the registry server is sending: `ingest/upload-<uuid>`. */
  upload(id: string): string;
  /** Uncompressed layers, `layers/<diffID hex>/fs`; `layers/tmp-*` while one is unpacked. */
  readonly layers: string;
  layer(diffId: Digest): string;
  layerFs(diffId: Digest): string;
  /** What the unpacker said of a layer: its diffID, bytes and files. */
  layerRecord(diffId: Digest): string;
  /** Is there where the layer hides everything below it. */
  layerOpaque(diffId: Digest): string;
  temporaryLayer(random: string): string;
  /** A directory with nothing in it: the root of an image without layers. */
  readonly emptyLayer: string;

  readonly containers: string;
  container(id: string): string;
  /** What the user asked for; written once. */
  containerRecord(id: string): string;
  /** The OCI runtime config.json. */
  config(id: string): string;
  /** What happened: pid, start time, exit; written by the monitor. */
  state(id: string): string;
  /** What the health checks have found; written by the monitor. */
  health(id: string): string;
  /** Is there where the user has stopped the container. */
  stopMark(id: string): string;
  upper(id: string): string;
  work(id: string): string;
  /** Where the overlay is mounted, in the container's own mount namespace only. */
  rootfs(id: string): string;
  /** hosts, hostname and resolv.conf, bind-mounted into the container. */
  etcFile(id: string, file: 'hosts' | 'hostname' | 'resolv.conf'): string;
  log(id: string): string;
  /** Of the driver `local`. */
  localLog(id: string): string;
  /** `names/<name>` is a symbolic link whose target is the container's id: reserving a name is one atomic call. */
  readonly names: string;
  name(name: string): string;
  /** What is to be deleted when there is time for it. */
  readonly trash: string;

  /** What builds remember: `build-cache/{steps/<key>.json,locks/<key>,mounts/<hash>}`. */
  readonly buildCache: string;
  readonly buildSteps: string;
  buildStep(key: string): string;
  /** Held by whoever carries out the step of this key. */
  buildLock(key: string): string;
  /** The directories of `RUN --mount=type=cache`. */
  readonly buildMounts: string;
  buildMount(hash: string): string;
  /** Secrets and sockets of a RUN, in memory. */
  readonly buildSecrets: string;
  buildSecret(id: string): string;
  /** Manifest lists that are being made: one file each, named by the hash of the list's name. */
  readonly manifestLists: string;
  /** `volumes/<name>/{volume.json,_data}`; `.new-*` while one is made. */
  readonly volumes: string;
  volume(name: string): string;
  volumeRecord(name: string): string;
  /** What a container sees of it. */
  volumeData(name: string): string;
  /** Held shared while a container with volumes is made, exclusive while one is removed. */
  readonly volumesLock: string;

  readonly networks: string;
  network(name: string): string;
  /** What happened, a line of JSON each: what `events` shows. Older ones in {@link oldEvents}, 1 the youngest. */
  readonly events: string;
  oldEvents(number: number): string;
  /** Held by whoever rotates {@link events}. */
  readonly eventsLock: string;
  readonly cache: string;
  seccompProgram(hash: string): string;
  /** Of a directory that was a build context: the digests of its files (`cache/contexts/<hash of the directory>`). */
  contextStats(hash: string): string;
  /** Files that builds fetched by http. */
  readonly buildDownloads: string;
  /** Unpacked contexts and checkouts, each as long as its build. */
  readonly buildScratch: string;
  /** What `images` shows of every image, so that it need not read them all. */
  readonly imageFacts: string;

  /** Per running container, on tmpfs. */
  run(id: string): string;
  /** Held (flock) by the monitor as long as it lives: `running` is derived from it. */
  lock(id: string): string;
  attachSocket(id: string): string;
  /** The restart policy, where it is not that of the launch plan any more: see native/restart.c. */
  policy(id: string): string;
  /** The plan's release and cleanup ops, for the command that finds a monitor dead. */
  teardown(id: string): string;
  /** The addresses and ports of a running container, for `ps` and `inspect`. */
  networkSettings(id: string): string;
  /** What `update --publish-add` and `--publish-rm` leave: the ports that the monitor is to serve (its path is native/attach.c's). */
  ports(id: string): string;
  /** What is to go out of the firewall in the end, in place of what the launch plan says. */
  portsRelease(id: string): string;
  /** Is there while they are changed: whoever finds it without the lock makes the firewall anew. */
  portsChanging(id: string): string;
  /** What `update --net-in-rate` leaves: netlink messages in place of those of the launch plan. */
  rates(id: string): string;
  ratesRelease(id: string): string;
  /** Held by whoever changes a container.json. */
  readonly recordsLock: string;
  /** Held (flock) by a command that has paused a container for as long as it works: `pauses/<id>`. */
  readonly pauses: string;
  pause(id: string): string;
  /** Of one `exec`: its monitor's lock and state; gone with it. */
  exec(id: string): string;
  execLock(id: string): string;
  execState(id: string): string;
  readonly execs: string;
  /** IPAM leases, `leases/<network>/<address>`, each a symbolic link to the container's id. */
  leases(network: string): string;
}

export const DEFAULT_ROOTS: Roots = { root: '/var/lib/tinyrun', runRoot: '/run/tinyrun' };

/** @param roots absolute directories */
export function pathsOf(roots: Roots): Paths {
  const { root, runRoot } = roots;
  const top = baseOf(root);
  const runTop = baseOf(runRoot);
  const containers = join(top, 'containers');
  const layers = join(top, 'layers');
  const blobs = join(top, 'blobs', 'sha256');
  const ingest = join(top, 'ingest');
  const names = join(top, 'names');
  const networks = join(top, 'networks');
  const volumes = join(top, 'volumes');
  const cache = join(top, 'cache');
  const buildCache = join(top, 'build-cache');
  const container = (id: string): string => join(containers, id);
  const execs = join(runTop, 'exec');
  const pauses = join(runTop, 'pauses');
  const exec = (id: string): string => join(execs, id);
  const run = (id: string): string => join(runTop, 'containers', id);
  return {
    root,
    runRoot,
    instance: root === DEFAULT_ROOTS.root ? '' : shortHash(root),
    ociLayout: join(top, 'oci-layout'),
    index: join(top, 'index.json'),
    indexLock: join(top, 'index.lock'),
    indexReserve: join(top, 'index.reserve'),
    storeLease: join(top, 'store.lease'),
    blobs,
    blob: (digest) => join(blobs, hexOf(digest)),
    ingest,
    partial: (digest) => join(ingest, hexOf(digest)),
    upload: (id) => join(ingest, `upload-${id}`),
    layers,
    layer: (diffId) => join(layers, hexOf(diffId)),
    layerFs: (diffId) => join(layers, hexOf(diffId), 'fs'),
    layerRecord: (diffId) => join(layers, hexOf(diffId), 'layer.json'),
    layerOpaque: (diffId) => join(layers, hexOf(diffId), 'opaque'),
    temporaryLayer: (random) => join(layers, `tmp-${random}`),
    emptyLayer: join(layers, 'empty'),
    containers,
    container,
    containerRecord: (id) => join(container(id), 'container.json'),
    config: (id) => join(container(id), 'config.json'),
    state: (id) => join(container(id), 'state.json'),
    health: (id) => join(container(id), 'health.json'),
    stopMark: (id) => join(container(id), 'stopped'),
    upper: (id) => join(container(id), 'upper'),
    work: (id) => join(container(id), 'work'),
    rootfs: (id) => join(container(id), 'rootfs'),
    etcFile: (id, file) => join(container(id), file),
    log: (id) => join(container(id), 'log', 'json.log'),
    localLog: (id) => join(container(id), 'log', 'local.log'),
    names,
    name: (name) => join(names, name),
    trash: join(top, 'trash'),
    buildCache,
    buildSteps: join(buildCache, 'steps'),
    buildStep: (key) => join(buildCache, 'steps', `${key}.json`),
    buildLock: (key) => join(buildCache, 'locks', key),
    buildMounts: join(buildCache, 'mounts'),
    buildMount: (hash) => join(buildCache, 'mounts', hash),
    buildSecrets: join(runTop, 'secrets'),
    buildSecret: (id) => join(runTop, 'secrets', id),
    manifestLists: join(top, 'manifest-lists'),
    volumes,
    volume: (name) => join(volumes, name),
    volumeRecord: (name) => join(volumes, name, 'volume.json'),
    volumeData: (name) => join(volumes, name, '_data'),
    volumesLock: join(runTop, 'volumes.lock'),
    networks,
    network: (name) => join(networks, `${name}.json`),
    events: join(top, 'events', 'current'),
    oldEvents: (number) => join(top, 'events', `old.${number}`),
    eventsLock: join(top, 'events', 'lock'),
    cache,
    imageFacts: join(cache, 'images.json'),
    seccompProgram: (hash) => join(cache, 'seccomp', hash),
    contextStats: (hash) => join(cache, 'contexts', hash),
    buildDownloads: join(cache, 'downloads'),
    buildScratch: join(top, 'build-scratch'),
    run,
    lock: (id) => join(run(id), 'lock'),
    attachSocket: (id) => join(run(id), 'attach.sock'),
    policy: (id) => join(run(id), 'policy'),
    teardown: (id) => join(run(id), 'teardown'),
    networkSettings: (id) => join(run(id), 'network.json'),
    ports: (id) => join(run(id), 'ports'),
    portsRelease: (id) => join(run(id), 'ports.release'),
    portsChanging: (id) => join(run(id), 'ports.changing'),
    rates: (id) => join(run(id), 'rates'),
    ratesRelease: (id) => join(run(id), 'rates.release'),
    recordsLock: join(runRoot, 'records.lock'),
    pauses,
    pause: (id) => join(pauses, id),
    execs,
    exec,
    execLock: (id) => join(exec(id), 'lock'),
    execState: (id) => join(exec(id), 'state.json'),
    leases: (network) => join(runTop, 'leases', network),
  };
}

/**
 * The paths for a RUN of a build: it is no container that anybody may see, so its files are not among theirs.
 * @param upper the directory of its layer
 * @param scratch a directory on the same file system for all the rest
 */
export function buildRunPaths(paths: Paths, upper: string, scratch: string): Paths {
  return {
    ...paths,
    container: () => scratch,
    containerRecord: () => join(scratch, 'container.json'),
    config: () => join(scratch, 'config.json'),
    state: () => join(scratch, 'state.json'),
    upper: () => upper,
    work: () => join(scratch, 'work'),
    rootfs: () => join(scratch, 'rootfs'),
    etcFile: (_, file) => join(scratch, file),
    log: () => join(scratch, 'log'),
  };
}

/** What the paths begin with: absolute, nothing in it to be resolved, no slash at its end. */
function baseOf(root: string): string {
  const base = resolve(root);
  return base === '/' ? '' : base;
}

/** Of names without a slash or dots. Node's own looks at every character of the hundred paths of a start, 2 ms. */
function join(base: string, ...names: readonly string[]): string {
  return `${base}/${names.join('/')}`;
}

/**
 * Six hex digits that tell the roots of one machine apart: FNV-1a, folded to 24 bits. It protects nothing, and node:crypto
 * would cost every start 4 ms to load.
 */
function shortHash(text: string): string {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(text)) hash = Math.imul(hash ^ byte, 0x01000193) >>> 0;
  return ((hash >>> 24) ^ (hash & 0xffffff)).toString(16).padStart(6, '0');
}
