/**
 * The engine: pulls images, runs containers, in this process. Everything else (the command line, later the API) is a
 * front end of it.
 */
import { DEFAULT_ROOTS, pathsOf } from '../disk/paths.ts';
import type { CheckedStore } from '../image/check.ts';
import type { Session } from '../native/launch.ts';
import { useNativeDirectory } from '../native/library.ts';
import type { Digest } from '../oci/digest.ts';
import type { LayoutServer, ServeOptions } from '../registry/server/server.ts';
import type { CheckHow } from './check.ts';
import type { CommitRequest } from './commit.ts';
import { type ContainerRequest, completeOptions } from './container-options.ts';
import type { Container, ContainerRecord } from './containers.ts';
import type { Copied, CopyFilesHow, CopyPlace } from './copy-files.ts';
import type { Core, EngineOptions } from './core.ts';
import type { Created, CreateHow } from './create.ts';
import type { Change } from './diff.ts';
import type { DiskUsage } from './disk-usage.ts';
import type { EngineEvent, EventsHow } from './event-stream.ts';
import type { ExecHow, ExecRequest, ExecSession } from './exec.ts';
import type { Collected, GcHow } from './gc.ts';
import { type ImageEngine, imageEngine } from './image-engine.ts';
import type { ImportRequest } from './import.ts';
import type { Inspection } from './inspect.ts';
import type { ContainerSummary, ListHow } from './list.ts';
import type { LogEntry, LogsHow } from './logs.ts';
import type { NetworkFacts } from './network-facts.ts';
import type { NetworkRates } from './options.ts';
import type { PrunedContainers } from './prune.ts';
import type { Readiness, ReadyHow } from './ready.ts';
import type { RemoveHow } from './remove.ts';
import { type ResourceEngine, resourceEngine } from './resource-engine.ts';
import type { RestartHow } from './restart.ts';
import type { Started, StartHow } from './start.ts';
import type { Stats, StatsHow } from './stats.ts';
import type { StopHow } from './stop.ts';
import type { Processes } from './top.ts';
import type { Changes, Updated } from './update.ts';
import type { PortUpdate } from './update-ports.ts';

export type { Pressure, PressureOf, Stall } from '../cgroups/pressure.ts';
export type { ErrorKind } from '../errors.ts';
export { TinyrunError } from '../errors.ts';
export type { CheckedStore } from '../image/check.ts';
export type { GcPolicy } from '../image/gc-policy.ts';
export type { Finding } from '../image/trouble.ts';
export type { ExitRecord, OutputListener, Session } from '../native/launch.ts';
export type { Digest } from '../oci/digest.ts';
export type { Platform } from '../oci/image-spec.ts';
export type { LayoutServer, ServeOptions } from '../registry/server/server.ts';
export type { CheckHow } from './check.ts';
export type { CommitRequest } from './commit.ts';
export type { ContainerRequest } from './container-options.ts';
export type { Container, ContainerRecord, StateRecord, Status } from './containers.ts';
export type { Copied, CopyFilesHow, CopyPlace } from './copy-files.ts';
export type { EngineOptions } from './core.ts';
export type { Created, CreateHow, PullPolicy } from './create.ts';
export type { Change } from './diff.ts';
export type { DiskUsage, Usage } from './disk-usage.ts';
export type { EngineEvent, EventsHow } from './event-stream.ts';
export type { ExecHow, ExecRequest, ExecSession } from './exec.ts';
export type { Collected, GcHow } from './gc.ts';
export type * from './image-engine.ts';
export type { ImportRequest } from './import.ts';
export type { Inspection } from './inspect.ts';
export type { ContainerSummary } from './list.ts';
export type { LogEntry, LogsHow } from './logs.ts';
export type { NetworkFacts } from './network-facts.ts';
export type {
  CreateOptions,
  DeviceRequest,
  Limits,
  MountRequest,
  NetworkRequest,
  PortRequest,
  SecurityOption,
} from './options.ts';
export type { PrunedContainers } from './prune.ts';
export type { Readiness, ReadyHow, WaitFor } from './ready.ts';
export type * from './resource-engine.ts';
export type { RestartHow } from './restart.ts';
export type { Started, StartHow } from './start.ts';
export type { Stats, StatsHow, Usage as ContainerUsage } from './stats.ts';
export type { StopHow } from './stop.ts';
export type { Processes } from './top.ts';
export type { Changes, Updated } from './update.ts';

/** Containers are named by name, id, or the beginning of an id; every method throws TinyrunError. */
export interface Engine extends ImageEngine, ResourceEngine {
  create(request: ContainerRequest, how?: CreateHow): Promise<Created>;
  start(container: string, how: StartHow): Promise<Started>;
  /** Names of what `start --all-restartable` starts: what has a restart policy and was not stopped by the user, oldest first. */
  restartable(): Promise<string[]>;
  /** Starts what `create` has just returned, without reading it again. */
  startCreated(created: Created, how: StartHow): Promise<Started>;
  /** All containers, newest first. */
  list(how?: ListHow): Promise<ContainerSummary[]>;
  find(container: string): Promise<Container>;
  exec(container: string, request: ExecRequest, how: ExecHow): Promise<ExecSession>;
  attach(container: string): Promise<{ container: Container; session: Session }>;
  stop(container: string, how?: StopHow): Promise<void>;
  /** Stops it where it runs, and starts it. */
  restart(container: string, how?: RestartHow): Promise<void>;
  /** Every process of it stands still until {@link unpause}. */
  pause(container: string): Promise<void>;
  unpause(container: string): Promise<void>;
  rename(container: string, name: string): Promise<void>;
  /** What `ps` of the host says of its processes. @param psArguments default `-ef` */
  top(container: string, psArguments?: readonly string[]): Promise<Processes>;
  /** Docker's NetworkSettings.Ports: what is published while it runs. */
  ports(container: string): Promise<NetworkFacts['ports']>;
  /** What it has changed of its image's files. */
  changes(container: string): Promise<readonly Change[]>;
  /** Changes limits and the restart policy: now where it runs, and for all its starts. */
  update(container: string, changes: Changes): Promise<Updated>;
  /** Makes an image of a container. @returns its id */
  commit(container: string, request?: CommitRequest): Promise<Digest>;
  /** A container's files as a plain tar, as a stream. */
  export(container: string, how?: { readonly signal?: AbortSignal }): Promise<AsyncIterable<Uint8Array>>;
  /** Makes an image of a tar. @returns its id */
  import(request: ImportRequest): Promise<Digest>;
  /** Makes an image of a tar that `source` is the URL of. */
  importUrl(request: Omit<ImportRequest, 'archive'>): Promise<Digest>;
  /** Copies files between containers and the host. */
  copyFiles(source: CopyPlace, destination: CopyPlace, how?: CopyFilesHow): Promise<Copied>;
  /** A tar of what a path in a container names, as a stream. */
  archive(
    source: Required<CopyPlace>,
    how?: Pick<CopyFilesHow, 'followLink' | 'signal'>,
  ): Promise<AsyncIterable<Uint8Array>>;
  /** Unpacks a tar to a directory of a container. */
  extract(
    destination: Required<CopyPlace>,
    archive: AsyncIterable<Uint8Array>,
    how?: Pick<CopyFilesHow, 'signal'>,
  ): Promise<void>;
  /** Variables for all its starts; one that runs cannot be given any. @param env `KEY=value` */
  updateEnvironment(container: string, env: readonly string[]): Promise<void>;
  /** Publishes ports and takes them back: now where it runs, and for all its starts. */
  updatePorts(container: string, update: PortUpdate): Promise<void>;
  /** Changes the bandwidth: now where it runs, and for all its starts. */
  updateRates(container: string, rates: NetworkRates): Promise<void>;
  /** Once a second what containers use. */
  stats(how?: StatsHow): AsyncGenerator<readonly Stats[]>;
  /** Removes the containers that do not run. */
  pruneContainers(matches?: (container: Container) => boolean): Promise<PrunedContainers>;
  /** @param signal name or number; default SIGKILL */
  kill(container: string, signal?: string): Promise<void>;
  /** @returns what deletes the container's files, to be called after the reply */
  remove(container: string, how?: RemoveHow): Promise<{ id: string; finish: () => Promise<void> }>;
  /** Waits until it is healthy, its ports are open, or whatever is asked for. */
  whenReady(container: string, how?: ReadyHow): Promise<Readiness>;
  /** The exit code, once it has ended. */
  wait(container: string): Promise<number>;
  logs(container: string, how?: LogsHow): AsyncGenerator<LogEntry>;
  /** Empties its log. */
  clearLogs(container: string): Promise<void>;
  /** Notes that the terminal of a container has got a size, for `events`: the session itself tells the container. */
  resized(record: ContainerRecord, size: { readonly rows: number; readonly columns: number }): void;
  /** What happens to containers and images, by whichever process. */
  events(how?: EventsHow): AsyncGenerator<EngineEvent>;
  inspect(container: string): Promise<Inspection>;
  diskUsage(): Promise<DiskUsage>;
  /** Verifies every document, blob and unpacked layer of the store; with `repair`, mends what it can. */
  check(how?: CheckHow): Promise<CheckedStore>;
  /** Frees what nothing needs, and the images that a policy gives up. */
  collectGarbage(how?: GcHow): Promise<Collected>;
  /** Clears away what killed monitors and commands left; `quick`: only what needs no look at every container. */
  recover(how?: { readonly quick?: boolean }): Promise<void>;
  /** Removes everything of this store. */
  reset(): Promise<void>;
  /** `1`, `2`, or empty where there are no cgroups. */
  cgroupVersion(): Promise<string>;
  readonly root: string;
  readonly runRoot: string;
}

/** Opens an engine on a store. Does no I/O; a second engine on another root is independent of the first. */
export function openEngine(options: EngineOptions = {}): Engine {
  const core = coreOf(options);
  return {
    ...imageEngine(core),
    ...resourceEngine(core),
    root: core.paths.root,
    runRoot: core.paths.runRoot,
    create: async (request, how) =>
      (await import('./create.ts')).createContainer(core, completeOptions(request), how),
    start: async (text, how) => (await import('./start.ts')).startContainer(core, text, how),
    restartable: async () => (await import('./restart-policy.ts')).restartable(core),
    startCreated: async ({ record, image }, how) =>
      (await import('./start.ts')).startRecord(core, record, { ...how, image }),
    list: async (how) => (await import('./list.ts')).summarize(core, how),
    find: async (text) => (await import('./list.ts')).lookUp(core, text),
    attach: async (text) => (await import('./attach.ts')).attachContainer(core, text),
    exec: async (text, request, how) => (await import('./exec.ts')).execInContainer(core, text, request, how),
    stop: async (text, how) => (await import('./stop.ts')).stopContainer(core, text, how),
    restart: async (text, how) => (await import('./restart.ts')).restartContainer(core, text, how),
    pause: async (text) => (await import('./pause.ts')).pauseContainer(core, text),
    unpause: async (text) => (await import('./pause.ts')).unpauseContainer(core, text),
    rename: async (text, name) => (await import('./rename.ts')).renameContainer(core, text, name),
    top: async (text, psArguments) => (await import('./top.ts')).containerProcesses(core, text, psArguments),
    ports: async (text) => (await import('./list.ts')).publishedPorts(core, text),
    commit: async (text, request) => (await import('./commit.ts')).commitContainer(core, text, request),
    export: async (text, how) => (await import('./export.ts')).exportContainer(core, text, how),
    import: async (request) => (await import('./import.ts')).importImage(core, request),
    importUrl: async (request) => (await import('./import.ts')).importUrl(core, request),
    copyFiles: async (source, destination, how) =>
      (await import('./copy-files.ts')).copyFiles(core, source, destination, how),
    archive: async (source, how) => (await import('./copy-files.ts')).archiveOf(core, source, how),
    extract: async (destination, archive, how) =>
      (await import('./copy-files.ts')).extractArchive(core, destination, archive, how),
    changes: async (text) => (await import('./diff.ts')).containerChanges(core, text),
    update: async (text, changes) => (await import('./update.ts')).updateContainer(core, text, changes),
    updateEnvironment: async (text, env) =>
      (await import('./update-environment.ts')).updateEnvironment(core, text, env),
    updatePorts: async (text, update) => (await import('./update-ports.ts')).updatePorts(core, text, update),
    updateRates: async (text, rates) => (await import('./update-rates.ts')).updateRates(core, text, rates),
    stats: (how) => statsOf(core, how),
    pruneContainers: async (matches = () => true) =>
      (await import('./prune.ts')).pruneContainers(core, matches),
    kill: async (text, signal) => (await import('./stop.ts')).killContainer(core, text, signal),
    remove: async (text, how) => (await import('./remove.ts')).removeContainer(core, text, how),
    whenReady: async (text, how) => (await import('./ready.ts')).whenReady(core, text, how),
    wait: async (text) => (await import('./wait.ts')).waitContainer(core, text),
    logs: (text, how) => logsOf(core, text, how),
    clearLogs: async (text) => (await import('./logs.ts')).clearLogs(core, text),
    resized: (record, { rows, columns }) => {
      void import('./events.ts').then(({ containerEvent }) =>
        containerEvent(core, record, 'resize', { height: String(rows), width: String(columns) }),
      );
    },
    events: (how) => eventsOf(core, how),
    inspect: async (text) => (await import('./inspect.ts')).inspectContainer(core, text),
    check: async (how) => (await import('./check.ts')).checkStore(core, how),
    collectGarbage: async (how) => (await import('./gc.ts')).collectGarbage(core, how),
    diskUsage: async () => (await import('./disk-usage.ts')).diskUsage(core),
    recover: async (how) => (await import('./recover.ts')).recoverAll(core, how),
    cgroupVersion: async () =>
      (await import('../cgroups/host.ts')).hostCgroups().version.replace(/v|none/, ''),
    reset: async () => (await import('./reset.ts')).resetStore(core),
  };
}

async function* statsOf(core: Core, how: StatsHow | undefined): AsyncGenerator<readonly Stats[]> {
  yield* (await import('./stats.ts')).readStats(core, how);
}

async function* logsOf(core: Core, text: string, how: LogsHow | undefined): AsyncGenerator<LogEntry> {
  yield* (await import('./logs.ts')).readLogs(core, text, how);
}

async function* eventsOf(core: Core, how: EventsHow | undefined): AsyncGenerator<EngineEvent> {
  yield* (await import('./event-stream.ts')).readEvents(core, how);
}

/** Serves OCI image layouts as a read-only registry, such as for tests or a closed network. Close it when done. */
export async function serveLayout(options: ServeOptions): Promise<LayoutServer> {
  return (await import('../registry/server/server.ts')).serveLayout(options);
}

function coreOf(options: EngineOptions): Core {
  if (options.nativeDirectory !== undefined) useNativeDirectory(options.nativeDirectory);
  const paths = pathsOf({
    root: options.root ?? DEFAULT_ROOTS.root,
    runRoot: options.runRoot ?? DEFAULT_ROOTS.runRoot,
  });
  let store: ReturnType<Core['store']> | undefined;
  let networks: ReturnType<Core['networks']> | undefined;
  return {
    paths,
    env: options.env ?? {},
    arch: process.arch === 'arm64' ? 'arm64' : 'x64',
    phase: options.onPhase ?? (() => {}),
    ...(options.onPlan === undefined ? {} : { showPlan: options.onPlan }),
    store: () => {
      store ??= import('../image/store.ts').then(({ openStore }) => openStore(paths));
      return store;
    },
    networks: () => {
      networks ??= Promise.all([import('../network/networks.ts'), import('../network/host.ts')]).then(
        ([{ openNetworks }, { systemHost }]) => openNetworks(paths, systemHost()),
      );
      return networks;
    },
    lockIsHeld: async () => (await import('../native/syscalls.ts')).lockIsHeld,
  };
}
