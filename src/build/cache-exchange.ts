import { TinyrunError } from '../errors.ts';
import type { CachedStep } from '../image/cached-steps.ts';
import type { ImageConfig, Platform } from '../oci/image-spec.ts';
import { splitFields } from './csv.ts';

/** `--cache-to` and `--cache-from`: where steps of other machines come from, and go to. */
export type CachePlace =
  | { readonly type: 'local'; readonly directory: string; readonly tag: string; readonly all: boolean }
  | { readonly type: 'registry'; readonly reference: string; readonly all: boolean };

const KEYS: Readonly<Record<'to' | 'from', Readonly<Record<'local' | 'registry', readonly string[]>>>> = {
  to: { local: ['type', 'dest', 'tag', 'mode'], registry: ['type', 'ref', 'mode'] },
  from: { local: ['type', 'src', 'tag'], registry: ['type', 'ref'] },
};

/**
 * `type=local,dest=DIR[,tag=…][,mode=max]`, `type=registry,ref=NAME[,mode=max]`; for `from` also a name alone.
 * @throws TinyrunError
 */
export function parseCachePlace(text: string, direction: 'to' | 'from'): CachePlace {
  if (!text.includes('=')) return { type: 'registry', reference: text, all: false };
  const fields = new Map(
    splitFields(text, `invalid cache ${JSON.stringify(text)}`).map((field) => {
      const at = field.indexOf('=');
      if (at < 1) throw invalid(`invalid value ${field}`);
      return [field.slice(0, at).trim().toLowerCase(), field.slice(at + 1)] as const;
    }),
  );
  const type = fields.get('type') ?? 'registry';
  if (type !== 'local' && type !== 'registry')
    throw new TinyrunError('unsupported', `cache type ${JSON.stringify(type)} is not supported`, {
      hint: 'Use type=local or type=registry',
    });
  for (const key of fields.keys())
    if (!KEYS[direction][type].includes(key))
      throw invalid(`unsupported option ${JSON.stringify(key)} for a cache of type ${type}`);
  const mode = fields.get('mode') ?? 'min';
  if (mode !== 'min' && mode !== 'max') throw invalid(`invalid cache mode ${JSON.stringify(mode)}`);
  const needed = (key: string): string => {
    const value = fields.get(key);
    if (value === undefined || value === '') throw invalid(`${key} is required for a cache of type ${type}`);
    return value;
  };
  const all = mode === 'max';
  if (type === 'registry') return { type, reference: needed('ref'), all };
  return {
    type,
    directory: needed(direction === 'to' ? 'dest' : 'src'),
    tag: fields.get('tag') ?? 'latest',
    all,
  };
}

/** Steps by their keys. */
export type CachedSteps = ReadonlyMap<string, CachedStep>;

const LABEL = 'dev.tinyrun.buildcache';
const VERSION = 1;
/** Characters of the label: a config is at most 4 MiB. */
const LABEL_MAX = 3 * 1024 * 1024;

/**
 * A cache travels as an image: its layers are those of the steps, in no order that means anything, and a label tells which
 * step made which. So every registry and every layout can hold it, and pulling verifies and unpacks it.
 */
export function cacheImage(
  steps: CachedSteps,
  platform: Platform,
): { config: ImageConfig; layers: CachedStep['layer'][] } {
  const layers = new Map([...steps.values()].map(({ layer }) => [layer.diffId, layer] as const));
  const listed = [...steps].map(([key, { layer, bytes, description }]) => {
    const created = layer.created === undefined ? {} : { created: layer.created };
    return { key, diffId: layer.diffId, bytes, description, ...created };
  });
  const label = JSON.stringify({ version: VERSION, steps: listed });
  if (label.length > LABEL_MAX)
    throw new TinyrunError('unsupported', `Cannot export a cache of ${steps.size} steps`, {
      hint: 'Use mode=min',
    });
  const { os, architecture, variant } = platform;
  const config: ImageConfig = {
    os,
    architecture,
    ...(variant === undefined ? {} : { variant }),
    config: { Labels: { [LABEL]: label } },
    rootfs: { type: 'layers', diff_ids: [...layers.keys()] },
    history: [],
  };
  return { config, layers: [...layers.values()] };
}

/**
 * The steps of a cache image that is in the store.
 * @param layers of its manifest, with their diffIDs
 */
export function stepsOf(config: ImageConfig, layers: readonly CachedStep['layer'][]): CachedSteps {
  const found = new Map<string, CachedStep>();
  const byId = new Map(layers.map((layer) => [String(layer.diffId), layer]));
  for (const step of stepList(config.config.Labels?.[LABEL])) {
    const { key, diffId, bytes, description, created } = fieldsOf(step);
    const layer = typeof diffId === 'string' ? byId.get(diffId) : undefined;
    if (layer === undefined || typeof key !== 'string' || !/^[0-9a-f]{64}$/.test(key)) continue;
    if (typeof bytes !== 'number' || typeof description !== 'string') continue;
    const times = typeof created === 'string' ? { created } : {};
    found.set(key, { layer: { ...layer, ...times }, bytes, description });
  }
  return found;
}

function stepList(label: string | undefined): readonly unknown[] {
  if (label === undefined) return [];
  try {
    const { version, steps } = fieldsOf(JSON.parse(label));
    return version === VERSION && Array.isArray(steps) ? steps : [];
  } catch {
    // A stranger's: no cache of ours.
    return [];
  }
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? { ...value } : {};
}

function invalid(message: string): TinyrunError {
  return new TinyrunError('invalid', message);
}
