import type { Paths } from '../disk/paths.ts';
import type { BuiltLayer, CachedStep } from '../image/cached-steps.ts';
import type { ImageConfig, Platform } from '../oci/image-spec.ts';
import type { BuildContext } from './context.ts';
import type { Dockerfile } from './dockerfile/ast.ts';
import type { Stages } from './dockerfile/stage.ts';
import type { OnBuildEvent } from './events.ts';
import type { Draft } from './image-config.ts';
import type { LayerHow } from './step-layer.ts';

/** An image that a build begins with or copies from. */
export interface BaseImage {
  readonly config: ImageConfig;
  readonly layers: readonly BuiltLayer[];
  /** `docker.io/library/node:20@sha256:…`, for progress. */
  readonly name: string;
}

/** One RUN, all variables expanded. */
export interface RunRequest {
  /** The directory of its layer, empty. */
  readonly upper: string;
  /** For whatever else it needs on the same file system; removed by the caller. */
  readonly scratch: string;
  readonly draft: Draft;
  readonly args: readonly string[];
  /** `KEY=value`, besides the draft's. */
  readonly env: readonly string[];
  readonly network: 'default' | 'none' | 'host';
  readonly insecure: boolean;
  readonly mounts: readonly RunMountSource[];
  readonly onOutput: (stream: 'stdout' | 'stderr', chunk: Uint8Array) => void;
  readonly signal: AbortSignal;
}

/** A mount of a RUN with what is to be mounted. Targets are absolute. */
export type RunMountSource =
  | {
      /** A path below layers or a directory; links in it are followed inside of them only. */
      readonly type: 'files';
      readonly directories: readonly string[];
      readonly path: string;
      readonly target: string;
      readonly readOnly: boolean;
    }
  | {
      readonly type: 'directory';
      /** On the host, and nobody else's to change. */
      readonly path: string;
      readonly below: string;
      readonly target: string;
      readonly readOnly: boolean;
    }
  | { readonly type: 'tmpfs'; readonly target: string; readonly size?: number; readonly readOnly: boolean }
  | {
      readonly type: 'secret';
      readonly data: Uint8Array;
      readonly target: string;
      readonly uid: number;
      readonly gid: number;
      readonly mode: number;
    }
  | {
      readonly type: 'ssh';
      /** The agent's socket on the host. */
      readonly socket: string;
      readonly target: string;
      readonly uid: number;
      readonly gid: number;
      readonly mode: number;
    };

export interface RunOutcome {
  readonly exitCode: number;
  readonly oomKilled: boolean;
}

/** What the engine does for a build. */
export interface StepHost {
  readonly paths: Paths;
  /** For proxies, authorities and the ssh agent of downloads. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Directories of layers, top first; of none, an empty one. */
  directories(layers: readonly BuiltLayer[]): string[];
  /** The image, pulled where that is needed; `onEvent` is told of the download. */
  image(reference: string, platform: Platform, onLayer: OnLayerProgress): Promise<BaseImage>;
  /** Ids of `user[:group]` by the files of the layers. @throws TinyrunError `invalid` */
  account(
    layers: readonly BuiltLayer[],
    text: string,
  ): Promise<{ readonly uid: number; readonly gid: number }>;
  /** `linux/arm64` as a platform. @throws TinyrunError `invalid` */
  platform(text: string): Platform;
  isDirectory(layers: readonly BuiltLayer[], path: string): Promise<boolean>;
  run(request: RunRequest): Promise<RunOutcome>;
}

/** A layer of a base image under way. */
export type OnLayerProgress = (layer: {
  readonly id: string;
  readonly current: number;
  readonly total: number;
  readonly done: boolean;
}) => void;

export type NamedContext =
  | { readonly type: 'files'; readonly open: () => Promise<BuildContext> }
  | { readonly type: 'image'; readonly reference: string };

/** A `--secret` or `--ssh` of the command line. */
export interface BuildSecret {
  /** Read when a step asks for it. */
  readonly read: () => Promise<Uint8Array>;
}

/** All that a build of one platform is made from. */
export interface SolveInput {
  readonly host: StepHost;
  readonly dockerfile: Dockerfile;
  readonly stages: Stages;
  readonly platform: Platform;
  readonly buildPlatform: Platform;
  readonly buildArgs: Readonly<Record<string, string>>;
  readonly platformArgs: Readonly<Record<string, string>>;
  readonly context: () => Promise<BuildContext>;
  readonly namedContexts: ReadonlyMap<string, NamedContext>;
  readonly secrets: ReadonlyMap<string, BuildSecret>;
  /** Id to the path of an agent's socket. */
  readonly ssh: ReadonlyMap<string, string>;
  /** `--label`. */
  readonly labels: Readonly<Record<string, string>>;
  /** `--no-cache`: all; `--no-cache-filter`: names of stages. */
  readonly noCache: boolean | readonly string[];
  readonly network: 'default' | 'none' | 'host';
  /** `--allow security.insecure`. */
  readonly allowInsecure: boolean;
  readonly layerHow: LayerHow;
  readonly onEvent: OnBuildEvent;
  /** Told of each step that made a layer or had one in the cache. */
  readonly onStep?: (key: string, step: CachedStep) => void;
  readonly signal: AbortSignal;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}
