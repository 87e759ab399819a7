/** What an engine does with images and registries. */
import type { ImageTree } from '../image/image-tree.ts';
import type { LoadedImage } from '../image/load.ts';
import type { PullForecast } from '../image/pull-check.ts';
import type { RemovedImage } from '../image/store.ts';
import type { StoredImage } from '../image/stored-image.ts';
import type { LoadHow, SaveHow } from './archive.ts';
import type { CopiedImage, CopyHow } from './copy.ts';
import type { Core } from './core.ts';
import type { HistoryStep } from './history.ts';
import type { Pruned, PruneHow } from './images.ts';
import type { Inspection } from './inspect.ts';
import type { LoginRequest } from './login.ts';
import type { Annotation, PushedList } from './manifest-lists.ts';
import type { Pulled, PullHow } from './pull.ts';
import type { PushedImage, PushHow } from './push.ts';
import type { RemoteHow, RemoteManifest } from './remote.ts';
import type { Served, ServeHow } from './serve.ts';

export type { ImageTree, PlatformImage } from '../image/image-tree.ts';
export type { LoadedImage } from '../image/load.ts';
export type { LayerForecast, PullForecast } from '../image/pull-check.ts';
export type { PullEvent } from '../image/pull-events.ts';
export type { PushEvent } from '../image/push.ts';
export type { RemovedImage } from '../image/store.ts';
export type { StoredImage } from '../image/stored-image.ts';
export type { LoadHow, SaveHow } from './archive.ts';
export type { CopiedImage, CopyHow } from './copy.ts';
export type { HistoryStep } from './history.ts';
export type { Pruned, PruneHow } from './images.ts';
export type { LoginRequest } from './login.ts';
export type { Annotation, PushedList } from './manifest-lists.ts';
export type { Pulled, PullHow } from './pull.ts';
export type { PushedImage, PushHow } from './push.ts';
export type { RemoteHow, RemoteManifest } from './remote.ts';
export type { Served, ServeHow } from './serve.ts';

/** Part of the engine; every method throws TinyrunError. */
export interface ImageEngine {
  images(): Promise<StoredImage[]>;
  inspectImage(image: string): Promise<Inspection | undefined>;
  removeImage(image: string, how?: { readonly force?: boolean }): Promise<RemovedImage>;
  /** Gives an image another name. */
  tagImage(image: string, name: string): Promise<void>;
  /** Takes names from an image, which stays. @param names default: all its tags @returns those that went */
  untagImage(image: string, names?: readonly string[]): Promise<readonly string[]>;
  /** Images by what their names point to, with platforms and what they share. */
  imageTrees(): Promise<ImageTree[]>;
  /** How an image was made, the newest step first. */
  history(image: string): Promise<HistoryStep[]>;
  /** Removes images that nothing names or, with `all`, that nothing uses. */
  pruneImages(how?: PruneHow): Promise<Pruned>;
  pull(image: string, how?: PullHow): Promise<Pulled>;
  /** What a pull would do now; nothing is kept of what is asked for it. */
  forecast(image: string, how?: PullHow): Promise<PullForecast>;
  /** Sends an image to the registry that its name says. */
  push(image: string, how?: PushHow): Promise<PushedImage[]>;
  /**
   * Copies an image from one place to another, byte for byte, unpacking nothing but what comes into the store.
   * @param source `docker://NAME`, `oci:DIR[:TAG]`, `oci-archive:FILE[:TAG]`, `docker-archive:FILE[:NAME]`, `store:NAME`
   * @param destination the same
   */
  copy(source: string, destination: string, how?: CopyHow): Promise<CopiedImage>;
  /** All tags that a repository has in its registry. */
  remoteTags(repository: string, how?: RemoteHow): Promise<string[]>;
  /** A manifest or index as the registry has it. */
  remoteManifest(image: string, how?: RemoteHow): Promise<RemoteManifest>;
  /** An image as inspectImage() shows it, without pulling it. */
  remoteImage(image: string, how?: RemoteHow & { readonly platform?: string }): Promise<Inspection>;
  /** A list of manifests in registries, to be pushed. @returns its canonical name */
  createManifestList(
    list: string,
    images: readonly string[],
    how?: RemoteHow & { readonly amend?: boolean },
  ): Promise<string>;
  /** Says for which platform one of its manifests is. */
  annotateManifestList(list: string, image: string, annotation: Annotation): Promise<void>;
  /** The document of a list that is being made. */
  localManifestList(list: string): Promise<Uint8Array | undefined>;
  pushManifestList(list: string, how?: RemoteHow & { readonly purge?: boolean }): Promise<PushedList>;
  removeManifestList(list: string): Promise<void>;
  /** The images of the store, or of another OCI layout, as a registry. */
  serve(how?: ServeHow): Promise<Served>;
  /** A tar of images that is an OCI layout and a docker archive in one, as a stream. */
  save(images: readonly string[], how?: SaveHow): Promise<AsyncIterable<Uint8Array>>;
  /** The images of such a tar, of `docker save` in any form, or of an OCI layout; gzip and zstd are undone. */
  load(archive: AsyncIterable<Uint8Array>, how?: LoadHow): Promise<LoadedImage[]>;
  /** Verifies credentials and keeps them where Docker does. @returns the file that has the password unencrypted now */
  login(request: LoginRequest): Promise<{ plainFile?: string }>;
  /** @param server empty: Docker Hub */
  logout(server: string): Promise<{ server: string; removed: boolean }>;
}

/** Modules are loaded when they are first needed. */
export function imageEngine(core: Core): ImageEngine {
  return {
    images: async () => (await import('./images.ts')).listImages(core),
    inspectImage: async (text) => (await import('./inspect.ts')).inspectImage(core, text),
    removeImage: async (text, how) => (await import('./images.ts')).removeImage(core, text, how),
    tagImage: async (text, name) => (await import('./images.ts')).tagImage(core, text, name),
    untagImage: async (text, names) => (await import('./images.ts')).untagImage(core, text, names),
    imageTrees: async () => (await import('./images.ts')).listTrees(core),
    history: async (text) => (await import('./history.ts')).imageHistory(core, text),
    pruneImages: async (how) => (await import('./images.ts')).pruneImages(core, how),
    pull: async (text, how) => (await import('./pull.ts')).pullImage(core, text, how),
    forecast: async (text, how) => (await import('./pull.ts')).forecastImage(core, text, how),
    push: async (text, how) => (await import('./push.ts')).pushImage(core, text, how),
    copy: async (source, destination, how) =>
      (await import('./copy.ts')).copyImage(core, source, destination, how),
    remoteTags: async (text, how) => (await import('./remote.ts')).remoteTags(core, text, how),
    remoteManifest: async (text, how) => (await import('./remote.ts')).remoteManifest(core, text, how),
    remoteImage: async (text, how) => (await import('./remote.ts')).remoteImage(core, text, how),
    createManifestList: async (list, images, how) =>
      (await import('./manifest-lists.ts')).createManifestList(core, list, images, how),
    annotateManifestList: async (list, image, annotation) =>
      (await import('./manifest-lists.ts')).annotateManifestList(core, list, image, annotation),
    localManifestList: async (list) => (await import('./manifest-lists.ts')).localManifestList(core, list),
    pushManifestList: async (list, how) =>
      (await import('./manifest-lists.ts')).pushManifestList(core, list, how),
    removeManifestList: async (list) => (await import('./manifest-lists.ts')).removeManifestList(core, list),
    serve: async (how) => (await import('./serve.ts')).serveImages(core, how),
    save: async (texts, how) => (await import('./archive.ts')).saveImages(core, texts, how),
    load: async (archive, how) => (await import('./archive.ts')).loadImages(core, archive, how),
    login: async (request) => (await import('./login.ts')).login(core, request),
    logout: async (server) => (await import('./login.ts')).logout(core, server),
  };
}
