import type { BuildWarning } from './dockerfile/ast.ts';

/**
 * What a build tells while it runs, for the progress renderers of the CLI. A vertex is one step (`[2/3] RUN make`, `load
 * build context`, `exporting to image`); `vertex` is its id, unique in the build. Times are Date.now().
 *
 *     started → (log | status)* → done | error
 *     cached
 */
export type BuildEvent =
  | {
      readonly type: 'started';
      readonly vertex: string;
      /** `[build 2/3] RUN make`: BuildKit's, with the stage's name where there is more than one stage. */
      readonly name: string;
      /** Ids of the steps whose results it takes. */
      readonly inputs?: readonly string[];
      readonly time: number;
    }
  | {
      /** Needed no work; there is no `started` nor `done`. */
      readonly type: 'cached';
      readonly vertex: string;
      readonly name: string;
      readonly inputs?: readonly string[];
      readonly time: number;
    }
  | { readonly type: 'done'; readonly vertex: string; readonly time: number }
  | { readonly type: 'error'; readonly vertex: string; readonly message: string; readonly time: number }
  | {
      /** It was stopped, because another step failed or by the user. */
      readonly type: 'canceled';
      readonly vertex: string;
      readonly time: number;
    }
  | {
      readonly type: 'log';
      readonly vertex: string;
      readonly stream: 'stdout' | 'stderr';
      readonly chunk: Uint8Array;
      readonly time: number;
    }
  | {
      /** Progress within a vertex: a layer's download, `transferring context:`. Told again with each change. */
      readonly type: 'status';
      readonly vertex: string;
      /** Unique in the vertex, and what is shown: `sha256:… `, `transferring dockerfile:`, `writing image sha256:…`. */
      readonly id: string;
      /** Bytes; `total` 0 or absent where it is not known. */
      readonly current: number;
      readonly total?: number;
      readonly started: number;
      readonly completed?: number;
      readonly time: number;
    }
  | {
      readonly type: 'warning';
      readonly warning: BuildWarning;
      readonly fileName: string;
      readonly time: number;
    };

export type OnBuildEvent = (event: BuildEvent) => void;
