import type { Command } from './command.ts';

/**
 * The command table: a name (or two words) and what loads it. A command's own module is loaded only when it is called:
 * loading all of them would cost every start some milliseconds.
 */
interface Entry {
  /** For the lists of `--help`; another spelling has none. */
  readonly summary?: string;
  readonly load: () => Promise<Command>;
}

const run = async (): Promise<Command> => (await import('./commands/run.ts')).run;
const create = async (): Promise<Command> => (await import('./commands/create.ts')).create;
const start = async (): Promise<Command> => (await import('./commands/start.ts')).start;
const ps = async (): Promise<Command> => (await import('./commands/ps.ts')).ps;
const logs = async (): Promise<Command> => (await import('./commands/logs.ts')).logs;
const events = async (): Promise<Command> => (await import('./commands/events.ts')).events;
const stop = async (): Promise<Command> => (await import('./commands/stop.ts')).stop;
const kill = async (): Promise<Command> => (await import('./commands/kill.ts')).kill;
const rm = async (): Promise<Command> => (await import('./commands/rm.ts')).rm;
const wait = async (): Promise<Command> => (await import('./commands/wait.ts')).wait;
const restart = async (): Promise<Command> => (await import('./commands/restart.ts')).restart;
const rename = async (): Promise<Command> => (await import('./commands/rename.ts')).rename;
const pause = async (): Promise<Command> => (await import('./commands/pause.ts')).pause;
const unpause = async (): Promise<Command> => (await import('./commands/unpause.ts')).unpause;
const top = async (): Promise<Command> => (await import('./commands/top.ts')).top;
const port = async (): Promise<Command> => (await import('./commands/port.ts')).port;
const stats = async (): Promise<Command> => (await import('./commands/stats.ts')).stats;
const update = async (): Promise<Command> => (await import('./commands/update.ts')).update;
const diff = async (): Promise<Command> => (await import('./commands/diff.ts')).diff;
const exec = async (): Promise<Command> => (await import('./commands/exec.ts')).exec;
const attach = async (): Promise<Command> => (await import('./commands/attach.ts')).attach;
const inspect = async (): Promise<Command> => (await import('./commands/inspect.ts')).inspect;
const images = async (): Promise<Command> => (await import('./commands/images.ts')).images;
const rmi = async (): Promise<Command> => (await import('./commands/rmi.ts')).rmi;
const build = async (): Promise<Command> => (await import('./commands/build.ts')).build;
const pull = async (): Promise<Command> => (await import('./commands/pull.ts')).pull;
const tag = async (): Promise<Command> => (await import('./commands/tag.ts')).tag;
const history = async (): Promise<Command> => (await import('./commands/history.ts')).history;
const push = async (): Promise<Command> => (await import('./commands/push.ts')).push;
const save = async (): Promise<Command> => (await import('./commands/save.ts')).save;
const load = async (): Promise<Command> => (await import('./commands/load.ts')).load;
const version = async (): Promise<Command> => (await import('./commands/version.ts')).version;
const info = async (): Promise<Command> => (await import('./commands/info.ts')).info;
const reset = async (): Promise<Command> => (await import('./commands/system-reset.ts')).systemReset;
const volumeLs = async (): Promise<Command> => (await import('./commands/volume-ls.ts')).volumeLs;
const volumeRm = async (): Promise<Command> => (await import('./commands/volume-rm.ts')).volumeRm;
const networkLs = async (): Promise<Command> => (await import('./commands/network-ls.ts')).networkLs;
const networkRm = async (): Promise<Command> => (await import('./commands/network-rm.ts')).networkRm;

export const COMMANDS: Readonly<Record<string, Entry>> = {
  run: { summary: 'Create and run a new container from an image', load: run },
  create: { summary: 'Create a new container', load: create },
  start: { summary: 'Start one or more stopped containers', load: start },
  ps: { summary: 'List containers', load: ps },
  logs: { summary: 'Fetch the logs of a container', load: logs },
  events: { summary: 'Show what happens to containers and images, by whichever command', load: events },
  attach: { summary: 'Attach local standard streams to a running container', load: attach },
  exec: { summary: 'Execute a command in a running container', load: exec },
  stop: { summary: 'Stop one or more running containers', load: stop },
  kill: { summary: 'Kill one or more running containers', load: kill },
  restart: { summary: 'Restart one or more containers', load: restart },
  pause: { summary: 'Pause all processes within one or more containers', load: pause },
  unpause: { summary: 'Unpause all processes within one or more containers', load: unpause },
  rename: { summary: 'Rename a container', load: rename },
  top: { summary: 'Display the running processes of a container', load: top },
  port: { summary: 'List port mappings or a specific mapping for the container', load: port },
  stats: { summary: 'Display a live stream of container resource usage statistics', load: stats },
  update: { summary: 'Update configuration of one or more containers', load: update },
  diff: { summary: "Inspect changes to files or directories on a container's filesystem", load: diff },
  commit: {
    summary: 'Create a new image from the changes of a container',
    load: async () => (await import('./commands/commit.ts')).commit,
  },
  export: {
    summary: 'Export the filesystem of a container as a tar archive',
    load: async () => (await import('./commands/export.ts')).exportCommand,
  },
  import: {
    summary: 'Import the contents from a tarball to create a filesystem image',
    load: async () => (await import('./commands/import.ts')).importCommand,
  },
  cp: {
    summary: 'Copy files/folders between a container and the local filesystem',
    load: async () => (await import('./commands/cp.ts')).cp,
  },
  wait: { summary: 'Block until containers stop, then print their exit codes', load: wait },
  rm: { summary: 'Remove one or more containers', load: rm },
  inspect: { summary: 'Return low-level information on containers and images', load: inspect },
  build: { summary: 'Build an image from a Dockerfile', load: build },
  pull: { summary: 'Download an image from a registry', load: pull },
  push: { summary: 'Upload an image to a registry', load: push },
  save: { summary: 'Save one or more images to a tar archive', load: save },
  load: { summary: 'Load images from a tar archive or STDIN', load },
  copy: {
    summary: 'Copy an image between registries, layouts, archives and this store',
    load: async () => (await import('./commands/copy.ts')).copy,
  },
  images: { summary: 'List images', load: images },
  rmi: { summary: 'Remove one or more images', load: rmi },
  tag: { summary: 'Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE', load: tag },
  untag: {
    summary: 'Remove names from an image, which stays',
    load: async () => (await import('./commands/untag.ts')).untag,
  },
  history: { summary: 'Show the history of an image', load: history },
  login: {
    summary: 'Authenticate to a registry',
    load: async () => (await import('./commands/login.ts')).login,
  },
  logout: {
    summary: 'Log out from a registry',
    load: async () => (await import('./commands/logout.ts')).logout,
  },
  'generate systemd': {
    summary: 'Print a systemd unit that runs a container',
    load: async () => (await import('./commands/generate-systemd.ts')).generateSystemd,
  },
  'generate quadlet': {
    summary: 'Print a Quadlet file that describes a container',
    load: async () => (await import('./commands/generate-quadlet.ts')).generateQuadlet,
  },
  info: { summary: 'Display information about this store and machine', load: info },
  version: { summary: 'Show the version', load: version },
  'system reset': { summary: 'Remove all containers, images and networks of this store', load: reset },
  'system df': {
    summary: 'Show disk usage',
    load: async () => (await import('./commands/system-df.ts')).systemDf,
  },
  'system events': { summary: 'Show what happens to containers and images', load: events },
  'system check': {
    summary: 'Verify every blob and every unpacked layer of the store',
    load: async () => (await import('./commands/system-check.ts')).systemCheck,
  },
  'system gc': {
    summary: 'Remove images by age, number or size, and all that nothing needs',
    load: async () => (await import('./commands/system-gc.ts')).systemGc,
  },
  'system prune': {
    summary: 'Remove unused data',
    load: async () => (await import('./commands/system-prune.ts')).systemPrune,
  },
  'system info': { summary: 'Display information about this store and machine', load: info },
  'container run': { summary: 'Create and run a new container from an image', load: run },
  'container create': { summary: 'Create a new container', load: create },
  'container start': { summary: 'Start one or more stopped containers', load: start },
  'container ls': { summary: 'List containers', load: ps },
  'container list': { load: ps },
  'container ps': { load: ps },
  'container logs': { summary: 'Fetch the logs of a container', load: logs },
  'container attach': { summary: 'Attach local standard streams to a running container', load: attach },
  'container exec': { summary: 'Execute a command in a running container', load: exec },
  'container stop': { summary: 'Stop one or more running containers', load: stop },
  'container kill': { summary: 'Kill one or more running containers', load: kill },
  'container restart': { summary: 'Restart one or more containers', load: restart },
  'container pause': { summary: 'Pause all processes within one or more containers', load: pause },
  'container unpause': { summary: 'Unpause all processes within one or more containers', load: unpause },
  'container rename': { summary: 'Rename a container', load: rename },
  'container top': { summary: 'Display the running processes of a container', load: top },
  'container port': { summary: 'List port mappings or a specific mapping for the container', load: port },
  'container prune': {
    summary: 'Remove all stopped containers',
    load: async () => (await import('./commands/container-prune.ts')).containerPrune,
  },
  'container stats': { summary: 'Display a live stream of container resource usage statistics', load: stats },
  'container update': { summary: 'Update configuration of one or more containers', load: update },
  'container diff': {
    summary: "Inspect changes to files or directories on a container's filesystem",
    load: diff,
  },
  'container commit': {
    summary: 'Create a new image from the changes of a container',
    load: async () => (await import('./commands/commit.ts')).commit,
  },
  'container export': {
    summary: 'Export the filesystem of a container as a tar archive',
    load: async () => (await import('./commands/export.ts')).exportCommand,
  },
  'container cp': {
    summary: 'Copy files/folders between a container and the local filesystem',
    load: async () => (await import('./commands/cp.ts')).cp,
  },
  'container wait': { summary: 'Block until containers stop, then print their exit codes', load: wait },
  'container rm': { summary: 'Remove one or more containers', load: rm },
  'container remove': { load: rm },
  'container inspect': {
    summary: 'Display detailed information on one or more containers',
    load: async () => (await import('./commands/inspect.ts')).inspectContainer,
  },
  'image ls': { summary: 'List images', load: images },
  'image list': { load: images },
  'image build': { summary: 'Build an image from a Dockerfile', load: build },
  'builder du': {
    summary: 'Show what the build cache takes of the disk',
    load: async () => (await import('./commands/builder-du.ts')).builderDu,
  },
  'builder prune': {
    summary: 'Remove build cache',
    load: async () => (await import('./commands/builder-prune.ts')).builderPrune,
  },
  'builder build': { summary: 'Build an image from a Dockerfile', load: build },
  'image pull': { summary: 'Download an image from a registry', load: pull },
  'image push': { summary: 'Upload an image to a registry', load: push },
  'image import': {
    summary: 'Import the contents from a tarball to create a filesystem image',
    load: async () => (await import('./commands/import.ts')).importCommand,
  },
  'image save': { summary: 'Save one or more images to a tar archive', load: save },
  'image load': { summary: 'Load images from a tar archive or STDIN', load },
  'manifest annotate': {
    summary: 'Add additional information to a local image manifest',
    load: async () => (await import('./commands/manifest-annotate.ts')).manifestAnnotate,
  },
  'manifest create': {
    summary: 'Create a local manifest list for annotating and pushing to a registry',
    load: async () => (await import('./commands/manifest-create.ts')).manifestCreate,
  },
  'manifest inspect': {
    summary: 'Display an image manifest, or manifest list',
    load: async () => (await import('./commands/manifest-inspect.ts')).manifestInspect,
  },
  'manifest push': {
    summary: 'Push a manifest list to a repository',
    load: async () => (await import('./commands/manifest-push.ts')).manifestPush,
  },
  'manifest rm': {
    summary: 'Delete one or more manifest lists from local storage',
    load: async () => (await import('./commands/manifest-rm.ts')).manifestRm,
  },
  'registry serve': {
    summary: 'Serve images to other machines',
    load: async () => (await import('./commands/registry-serve.ts')).registryServe,
  },
  'image rm': { summary: 'Remove one or more images', load: rmi },
  'image remove': { load: rmi },
  'image tag': { summary: 'Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE', load: tag },
  'image untag': {
    summary: 'Remove names from an image, which stays',
    load: async () => (await import('./commands/untag.ts')).untag,
  },
  'image history': { summary: 'Show the history of an image', load: history },
  'image prune': {
    summary: 'Remove unused images',
    load: async () => (await import('./commands/image-prune.ts')).imagePrune,
  },
  'network create': {
    summary: 'Create a network',
    load: async () => (await import('./commands/network-create.ts')).networkCreate,
  },
  'network ls': { summary: 'List networks', load: networkLs },
  'network list': { load: networkLs },
  'network inspect': {
    summary: 'Display detailed information on one or more networks',
    load: async () => (await import('./commands/network-inspect.ts')).networkInspect,
  },
  'network rm': { summary: 'Remove one or more networks', load: networkRm },
  'network remove': { load: networkRm },
  'network prune': {
    summary: 'Remove all unused networks',
    load: async () => (await import('./commands/network-prune.ts')).networkPrune,
  },
  'volume create': {
    summary: 'Create a volume',
    load: async () => (await import('./commands/volume-create.ts')).volumeCreate,
  },
  'volume export': {
    summary: 'Export the content of a volume as a tar archive',
    load: async () => (await import('./commands/volume-export.ts')).volumeExport,
  },
  'volume import': {
    summary: 'Fill an empty volume from a tar archive',
    load: async () => (await import('./commands/volume-import.ts')).volumeImport,
  },
  'volume ls': { summary: 'List volumes', load: volumeLs },
  'volume list': { load: volumeLs },
  'volume inspect': {
    summary: 'Display detailed information on one or more volumes',
    load: async () => (await import('./commands/volume-inspect.ts')).volumeInspect,
  },
  'volume rm': { summary: 'Remove one or more volumes', load: volumeRm },
  'volume remove': { load: volumeRm },
  'volume prune': {
    summary: 'Remove unused local volumes',
    load: async () => (await import('./commands/volume-prune.ts')).volumePrune,
  },
  'image inspect': {
    summary: 'Display detailed information on one or more images',
    load: async () => (await import('./commands/inspect.ts')).inspectImage,
  },
};

/** First words that are no commands themselves. */
export const GROUPS: readonly string[] = [
  'builder',
  'container',
  'generate',
  'image',
  'manifest',
  'network',
  'registry',
  'system',
  'volume',
];

/** @param name a key of COMMANDS @throws Error for any other */
export async function loadCommand(name: string): Promise<Command> {
  const entry = COMMANDS[name];
  if (entry === undefined) throw new Error(`no command "${name}"`);
  return { ...(await entry.load()), name };
}
