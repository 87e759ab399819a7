import { TinyrunError } from '../errors.ts';
import { parseBool } from '../oci/go-values.ts';
import { splitFields } from './csv.ts';

/** `-o`: where the result of a build goes. https://docs.docker.com/build/exporters/ */
export type BuildOutput =
  | {
      /** The store, and with `push` the registry, under the names given here and by `-t`. */
      readonly type: 'image';
      readonly names: readonly string[];
      readonly push: boolean;
      readonly annotations: Readonly<Record<string, string>>;
    }
  | {
      /** An archive (or with `tar` false a directory) that is an OCI image layout; `docker`: that `docker load` reads. */
      readonly type: 'oci' | 'docker';
      readonly names: readonly string[];
      /** `-` for standard output. */
      readonly dest: string;
      readonly tar: boolean;
      readonly annotations: Readonly<Record<string, string>>;
    }
  | {
      /** The files of the last stage: a directory, or a tar. */
      readonly type: 'local' | 'tar';
      readonly dest: string;
    }
  /** Nothing but the cache is filled. */
  | { readonly type: 'cacheonly' };

const TYPES = ['image', 'registry', 'oci', 'docker', 'local', 'tar', 'cacheonly'] as const;
const KEYS: ReadonlySet<string> = new Set([
  'type',
  'dest',
  'name',
  'push',
  'tar',
  // Ours are always these: named layers, media types of OCI, the whole image.
  'oci-mediatypes',
  'unpack',
  'store',
  'load',
]);
/** Layers of the base stay as they are (no `force-compression`); times follow SOURCE_DATE_EPOCH in any case. */
const COMPRESSION = ['compression', 'compression-level', 'rewrite-timestamp'] as const;

/** How layers are to be packed, where an output says so. */
export interface LayerPacking {
  readonly compression?: 'gzip' | 'zstd' | 'none';
  readonly level?: number;
}

export interface ParsedOutput {
  readonly output: BuildOutput;
  readonly packing: LayerPacking;
}

/**
 * `DIR`, `-`, or `type=…,key=value…`.
 * @throws TinyrunError in buildx's words
 */
export function parseOutput(text: string): ParsedOutput {
  const fields = splitFields(text, `invalid output ${JSON.stringify(text)}`);
  if (fields.length === 1 && !text.includes('='))
    return { output: text === '-' ? { type: 'tar', dest: '-' } : { type: 'local', dest: text }, packing: {} };
  const values = new Map<string, string>();
  for (const field of fields) {
    const at = field.indexOf('=');
    if (at < 0) throw invalid(`invalid value ${field}`);
    values.set(field.slice(0, at).trim().toLowerCase(), field.slice(at + 1));
  }
  const type = TYPES.find((each) => each === values.get('type'));
  if (!values.has('type')) throw invalid(`type is required for output`);
  if (type === undefined) throw invalid(`unsupported output type ${JSON.stringify(values.get('type'))}`);
  for (const key of values.keys())
    if (!KEYS.has(key) && !key.startsWith('annotation') && !COMPRESSION.some((each) => each === key))
      throw invalid(`unsupported output option ${JSON.stringify(key)} for ${type}`);
  return { output: outputOf(type, values), packing: packingOf(values) };
}

function outputOf(type: (typeof TYPES)[number], values: ReadonlyMap<string, string>): BuildOutput {
  const dest = values.get('dest');
  const names = (values.get('name') ?? '').split(',').filter((name) => name !== '');
  const annotations = annotationsOf(values);
  switch (type) {
    case 'cacheonly':
      return { type };
    case 'local':
      if (dest === undefined || dest === '') throw invalid('dest is required for local output');
      if (dest === '-') throw invalid('local output cannot go to standard output, use type=tar');
      return { type, dest };
    case 'tar':
      return { type, dest: dest ?? '-' };
    case 'image':
      return { type, names, push: booleanOf(values, 'push') ?? false, annotations };
    case 'registry':
      return { type: 'image', names, push: true, annotations };
    default: {
      // As the docker driver: without a file it is the store that gets the image.
      if (type === 'docker' && dest === undefined) return { type: 'image', names, push: false, annotations };
      const tar = booleanOf(values, 'tar') ?? true;
      if (!tar && (dest ?? '-') === '-') throw invalid(`dest is required for ${type} output with tar=false`);
      return { type, names, dest: dest ?? '-', tar, annotations };
    }
  }
}

function packingOf(values: ReadonlyMap<string, string>): LayerPacking {
  const compression = values.get('compression');
  const level = values.get('compression-level');
  const packing = compression === 'uncompressed' ? 'none' : compression;
  if (packing !== undefined && packing !== 'gzip' && packing !== 'zstd' && packing !== 'none')
    throw invalid(`unsupported layer compression type: ${compression}`);
  if (level !== undefined && !/^[0-9]{1,2}$/.test(level)) throw invalid(`invalid compression-level ${level}`);
  return {
    ...(packing === undefined ? {} : { compression: packing }),
    ...(level === undefined ? {} : { level: Number(level) }),
  };
}

/** `annotation.<key>=…`; of the manifest. */
function annotationsOf(values: ReadonlyMap<string, string>): Record<string, string> {
  const found: Record<string, string> = {};
  for (const [key, value] of values) {
    const [, name] = /^annotation(?:-manifest)?\.(.+)$/.exec(key) ?? [];
    if (name !== undefined) found[name] = value;
    else if (key.startsWith('annotation')) throw invalid(`unsupported output option ${JSON.stringify(key)}`);
  }
  return found;
}

function booleanOf(values: ReadonlyMap<string, string>, key: string): boolean | undefined {
  const text = values.get(key);
  if (text === undefined) return undefined;
  try {
    return text === '' || parseBool(text);
  } catch {
    throw invalid(`non-bool value specified for ${key}`);
  }
}

function invalid(message: string): TinyrunError {
  return new TinyrunError('invalid', message);
}
