import type { BuiltLayer } from '../image/cached-steps.ts';
import type { Healthcheck, HistoryEntry, ImageConfig, Platform, ProcessDefaults } from '../oci/image-spec.ts';

/** An image while it is made: what a stage has come to after some of its instructions. */
export interface Draft {
  readonly platform: Platform;
  readonly author?: string;
  readonly config: ProcessDefaults;
  /** From the bottom. */
  readonly layers: readonly BuiltLayer[];
  readonly history: readonly HistoryEntry[];
}

export const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
export const DEFAULT_SHELL: readonly string[] = ['/bin/sh', '-c'];

/** `FROM scratch`. */
export function emptyDraft(platform: Platform): Draft {
  return { platform, config: { Env: [`PATH=${DEFAULT_PATH}`], WorkingDir: '/' }, layers: [], history: [] };
}

/** An image as the beginning of a stage; its ONBUILD triggers are the caller's. */
export function draftOf(image: ImageConfig, layers: readonly BuiltLayer[]): Draft {
  const { os, architecture, variant, author, history } = image;
  const { OnBuild: _, ...config } = image.config;
  return {
    platform: { os, architecture, ...(variant === undefined ? {} : { variant }) },
    ...(author === undefined ? {} : { author }),
    config,
    layers,
    history,
  };
}

/** Who wrote a history entry, as BuildKit has it: tools tell by it how to read `created_by`. */
const COMMENT = 'buildkit.dockerfile.v0';

/** A step that changes the config only. */
export function withConfig(draft: Draft, config: ProcessDefaults, createdBy: string): Draft {
  const entry: HistoryEntry = { created_by: createdBy, comment: COMMENT, empty_layer: true };
  return { ...draft, config, history: [...draft.history, entry] };
}

/** A step that made a layer. */
export function withLayer(draft: Draft, layer: BuiltLayer, createdBy: string): Draft {
  const entry: HistoryEntry = {
    ...(layer.created === undefined ? {} : { created: layer.created }),
    created_by: createdBy,
    comment: COMMENT,
  };
  return { ...draft, layers: [...draft.layers, layer], history: [...draft.history, entry] };
}

/** `KEY=value` entries with one more: it replaces one of the same name where that stands. */
export function setVariable(entries: readonly string[], key: string, value: string): string[] {
  const entry = `${key}=${value}`;
  const at = entries.findIndex((one) => one === key || one.startsWith(`${key}=`));
  return at < 0 ? [...entries, entry] : entries.map((one, index) => (index === at ? entry : one));
}

/** CMD of the base goes with a new ENTRYPOINT, unless this stage has set a CMD itself. */
export function withEntrypoint(
  config: ProcessDefaults,
  words: readonly string[],
  keepsCmd: boolean,
): ProcessDefaults {
  const { Cmd, Entrypoint: _, ...rest } = config;
  return {
    ...rest,
    ...(words.length === 0 ? {} : { Entrypoint: words }),
    ...(keepsCmd && Cmd !== undefined ? { Cmd } : {}),
  };
}

export function withHealthcheck(config: ProcessDefaults, check: Healthcheck): ProcessDefaults {
  return { ...config, Healthcheck: check };
}

/** What `--timestamp` says. */
export interface Stamps {
  /** Seconds since 1970 that every time is set to or, in layers, not later than. */
  readonly epoch?: number;
}

/**
 * The config as the store gets it. Where a step has no time of its own (it made no layer) it has that of the layer before
 * it, the first ones that of the first layer made: so a build from the cache gives the very image it gave before.
 */
export function finalConfig(draft: Draft, { epoch }: Stamps = {}): ImageConfig {
  const { platform, author, config, layers } = draft;
  const fixed = epoch === undefined ? undefined : timeOf(epoch);
  const history = datedHistory(draft.history, fixed);
  const created = fixed ?? history.findLast((entry) => entry.created !== undefined)?.created;
  return {
    architecture: platform.architecture,
    config,
    ...(author === undefined ? {} : { author }),
    ...(created === undefined ? {} : { created }),
    history,
    os: platform.os,
    rootfs: { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) },
    ...(platform.variant === undefined ? {} : { variant: platform.variant }),
  };
}

export function timeOf(epoch: number): string {
  return new Date(epoch * 1000).toISOString().replace(/\.000Z$/, 'Z');
}

function datedHistory(history: readonly HistoryEntry[], fixed: string | undefined): HistoryEntry[] {
  if (fixed !== undefined) {
    return history.map((entry) => (entry.comment === COMMENT ? { ...entry, created: fixed } : entry));
  }
  let last = firstOfOurs(history);
  let undated = false;
  return history.map((entry) => {
    if (entry.created === undefined) {
      undated = true;
      return last === undefined ? entry : { created: last, ...entry };
    }
    if (undated || entry.comment === COMMENT) last = entry.created;
    return entry;
  });
}

/** Of the first layer after an undated step; where none follows, of the last layer at all. */
function firstOfOurs(history: readonly HistoryEntry[]): string | undefined {
  const first = history.findIndex((entry) => entry.created === undefined);
  const after = first < 0 ? undefined : history.slice(first).find((entry) => entry.created !== undefined);
  return after?.created ?? history.findLast((entry) => entry.created !== undefined)?.created;
}
