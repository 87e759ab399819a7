import { join, normalize } from 'node:path';
import type { MountRequest } from '../engine/options.ts';
import { keyValues } from './env-file.ts';
import { parseBool, parseBytes } from './flag-values.ts';

/** What a mount needs of the world: relative sources are resolved against `cwd`. */
export interface MountPlace {
  readonly cwd: string;
}

const PROPAGATIONS = new Set(['private', 'rprivate', 'shared', 'rshared', 'slave', 'rslave']);
/** Accepted and without effect: labels of SELinux, hints for other systems, copying into named volumes. */
const WITHOUT_EFFECT = new Set(['z', 'Z', 'nocopy', 'consistent', 'cached', 'delegated']);
const ATTRIBUTES = new Set(['nosuid', 'suid', 'nodev', 'dev', 'noexec', 'exec', 'noatime', 'nosymfollow']);

/**
 * One `-v [SOURCE:]TARGET[:OPTIONS]`: a directory of the host, made if it is missing, or a volume by its name; without a
 * source, a volume of the container's own.
 * @throws Error in Docker's words
 */
export function parseVolume(text: string, place: MountPlace): MountRequest {
  const parts = text.split(':');
  if (parts.length > 3 || text === '' || parts.some((part) => part === '')) {
    throw new Error(`invalid spec: ${text}: empty section between colons`);
  }
  const [source = '', target, options = ''] = parts;
  if (target === undefined) return volumeMount(undefined, source, '', text);
  const host = hostPath(source, place);
  if (host === undefined) return volumeMount(source, target, options, text);
  const mode = volumeMode(options, text);
  return { type: 'bind', source: host, target: absoluteTarget(target, text), createSource: true, ...mode };
}

/** Docker's grammar; the engine checks it again where a volume is made. */
const VOLUME_NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/;

function volumeMount(name: string | undefined, target: string, options: string, text: string): MountRequest {
  if (name !== undefined && !VOLUME_NAME.test(name)) {
    throw new Error(
      `${JSON.stringify(name)} includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you intended to pass a host directory, use absolute path`,
    );
  }
  const words = options === '' ? [] : options.split(',');
  for (const word of words) {
    if (!['ro', 'rw', ...ATTRIBUTES, ...WITHOUT_EFFECT].includes(word)) {
      throw new Error(`invalid spec: ${text}: invalid mode: ${options}`);
    }
  }
  return {
    type: 'volume',
    ...(name === undefined ? {} : { name }),
    target: absoluteTarget(target, text),
    readonly: words.includes('ro'),
    noCopy: words.includes('nocopy'),
    options: words.filter((word) => ATTRIBUTES.has(word)),
  };
}

/** `--volumes-from CONTAINER[:ro|rw]`. */
export function parseVolumesFrom(text: string): { container: string; readonly: boolean } {
  const [container = '', mode = 'rw', ...more] = text.split(':');
  if (container === '' || more.length > 0) throw new Error(`invalid volumes-from specification: ${text}`);
  if (!['ro', 'rw', 'z', 'Z'].includes(mode)) throw new Error(`invalid mode for volumes-from: ${mode}`);
  return { container, readonly: mode === 'ro' };
}

interface BindMode {
  readonly: boolean;
  recursive: boolean;
  propagation?: string;
  options: string[];
}

function volumeMode(options: string, text: string): BindMode {
  const mode: BindMode = { readonly: false, recursive: true, options: [] };
  for (const option of options === '' ? [] : options.split(',')) {
    if (option === 'ro') mode.readonly = true;
    else if (PROPAGATIONS.has(option)) mode.propagation = option;
    else if (option === 'bind') mode.recursive = false;
    else if (ATTRIBUTES.has(option)) mode.options.push(option);
    else if (option !== 'rw' && option !== 'rbind' && !WITHOUT_EFFECT.has(option)) {
      throw new Error(`invalid spec: ${text}: invalid mode: ${options}`);
    }
  }
  return mode;
}

/** `type=volume|bind|tmpfs,source=…,target=…[,readonly][,bind-propagation=…][,tmpfs-size=…][,tmpfs-mode=…]`, as CSV. */
export function parseMount(text: string, place: MountPlace): MountRequest {
  const fields = mountFields(text);
  const type = fields.get('type') ?? 'volume';
  fields.delete('type');
  const target = take(fields, ['target', 'destination', 'dst']);
  const source = take(fields, ['source', 'src']);
  if (target === undefined) throw new Error('target is required');
  if (type === 'tmpfs') return tmpfsMount(fields, target, source);
  if (type === 'volume') return volumeOfFields(fields, { name: source, target, text });
  if (type !== 'bind') throw new Error(`mount type ${JSON.stringify(type)} is not supported`);
  const host = source === undefined ? undefined : hostPath(source, place);
  if (host === undefined)
    throw new Error(`invalid mount path: ${JSON.stringify(source ?? '')}, expected a path`);
  const mode: BindMode = { readonly: readonlyField(fields), recursive: true, options: [] };
  const propagation = take(fields, ['bind-propagation']);
  if (propagation !== undefined) {
    if (!PROPAGATIONS.has(propagation)) throw new Error(`invalid propagation value: ${propagation}`);
    mode.propagation = propagation;
  }
  const recursive = take(fields, ['bind-recursive']);
  if (recursive === 'disabled' || booleanField(fields, 'bind-nonrecursive')) mode.recursive = false;
  else if (recursive === 'writable') mode.options.push('ro-nonrecursive');
  else if (recursive === 'readonly') mode.options.push('rro');
  else if (recursive !== undefined && recursive !== 'enabled') {
    throw new Error(
      `invalid value for bind-recursive: ${recursive}, expected enabled, disabled, writable or readonly`,
    );
  }
  const createSource = booleanField(fields, 'bind-create-src');
  take(fields, ['consistency']);
  nothingLeft(fields, text);
  return { type: 'bind', source: host, target: absoluteTarget(target, text), createSource, ...mode };
}

/** The fields that may be given several times, as `volume-label=a=1,volume-label=b=2`, are kept joined by a tab. */
const REPEATED = new Set(['volume-label', 'volume-opt']);

function volumeOfFields(
  fields: Map<string, string>,
  { name, target, text }: { name: string | undefined; target: string; text: string },
): MountRequest {
  const readonly = readonlyField(fields);
  const noCopy = booleanField(fields, 'volume-nocopy');
  const driver = take(fields, ['volume-driver']) ?? 'local';
  if (driver !== 'local') throw new Error(`volume driver ${JSON.stringify(driver)} is not supported`);
  const pairs = (key: string): Record<string, string> =>
    keyValues((take(fields, [key]) ?? '').split('\t').filter(Boolean));
  const labels = pairs('volume-label');
  const driverOptions = pairs('volume-opt');
  take(fields, ['consistency']);
  nothingLeft(fields, text);
  const mount = volumeMount(name === '' ? undefined : name, target, '', text);
  if (mount.type !== 'volume') return mount;
  return { ...mount, readonly, noCopy, labels, driverOptions };
}

/** `--tmpfs /run[:rw,noexec,size=64m]`. */
export function parseTmpfs(text: string): MountRequest {
  const colon = text.indexOf(':');
  const target = colon < 0 ? text : text.slice(0, colon);
  const options =
    colon < 0
      ? []
      : text
          .slice(colon + 1)
          .split(',')
          .filter(Boolean);
  for (const option of options) {
    if (
      !/^(rw|ro|(no)?(suid|dev|exec|atime|diratime|relatime|strictatime)|(r?(private|shared|slave))|(size|mode|uid|gid|nr_inodes|nr_blocks|mpol)=.+)$/.test(
        option,
      )
    ) {
      throw new Error(`invalid tmpfs option ${JSON.stringify(option)}`);
    }
  }
  return { type: 'tmpfs', target: absoluteTarget(target, text), options };
}

function tmpfsMount(fields: Map<string, string>, target: string, source: string | undefined): MountRequest {
  if (source !== undefined) throw new Error('cannot specify source for tmpfs mount');
  const options: string[] = [];
  const size = take(fields, ['tmpfs-size']);
  if (size !== undefined) options.push(`size=${parseBytes(size)}`);
  const mode = take(fields, ['tmpfs-mode']);
  if (mode !== undefined) {
    if (!/^[0-7]{1,4}$/.test(mode)) throw new Error(`invalid value for tmpfs-mode: ${mode}`);
    options.push(`mode=${mode}`);
  }
  if (readonlyField(fields)) options.push('ro');
  nothingLeft(fields, 'tmpfs');
  return { type: 'tmpfs', target: absoluteTarget(target, target), options };
}

const BOOLEANS = new Set(['readonly', 'ro', 'bind-nonrecursive', 'bind-create-src', 'volume-nocopy']);

function mountFields(text: string): Map<string, string> {
  const fields = new Map<string, string>();
  for (const part of splitCsv(text)) {
    const equals = part.indexOf('=');
    const key = (equals < 0 ? part : part.slice(0, equals)).toLowerCase();
    if (equals < 0 && !BOOLEANS.has(key)) {
      throw new Error(`invalid field '${part}' must be a key=value pair`);
    }
    const value = equals < 0 ? 'true' : part.slice(equals + 1);
    const before = REPEATED.has(key) ? fields.get(key) : undefined;
    fields.set(key, before === undefined ? value : `${before}\t${value}`);
  }
  return fields;
}

/** Fields between commas; a field in double quotes may hold commas, a doubled quote in it is one. */
function splitCsv(text: string): string[] {
  return [...text.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)].map(
    ([, quoted, plain]) => quoted?.replaceAll('""', '"') ?? plain ?? '',
  );
}

function take(fields: Map<string, string>, keys: readonly string[]): string | undefined {
  const key = keys.find((candidate) => fields.has(candidate));
  if (key === undefined) return undefined;
  const value = fields.get(key);
  fields.delete(key);
  return value;
}

function booleanField(fields: Map<string, string>, key: string): boolean {
  const text = take(fields, [key]);
  if (text === undefined) return false;
  try {
    return parseBool(text);
  } catch (cause) {
    throw new Error(`invalid value for ${key}: ${text}`, { cause });
  }
}

function readonlyField(fields: Map<string, string>): boolean {
  return booleanField(fields, fields.has('ro') ? 'ro' : 'readonly');
}

function nothingLeft(fields: Map<string, string>, text: string): void {
  const [key] = fields.keys();
  if (key !== undefined) throw new Error(`unexpected key '${key}' in '${text}'`);
}

/** A path of the host, absolute; undefined for the name of a volume. */
function hostPath(source: string, place: MountPlace): string | undefined {
  if (source.startsWith('/')) return normalize(source);
  if (source === '.' || source === '..' || /^\.{1,2}\//.test(source)) return join(place.cwd, source);
  return undefined;
}

function absoluteTarget(target: string, text: string): string {
  if (!target.startsWith('/')) {
    throw new Error(
      `invalid mount path: ${JSON.stringify(target)} in ${JSON.stringify(text)}: mount path must be absolute`,
    );
  }
  const clean = normalize(target).replace(/(.)\/+$/, '$1');
  if (clean === '/') throw new Error(`invalid specification: destination can't be '/'`);
  return clean;
}
