import { join, normalize } from 'node:path';
import type { MountRequest } from '../engine/options.ts';
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
 * One `-v SOURCE:TARGET[:OPTIONS]`. A source that is missing is made, as in Docker.
 * @throws Error for named and anonymous volumes, which are not supported yet
 */
export function parseVolume(text: string, place: MountPlace): MountRequest {
  const parts = text.split(':');
  if (parts.length > 3 || text === '' || parts.some((part) => part === '')) {
    throw new Error(`invalid spec: ${text}: empty section between colons`);
  }
  const [source = '', target, options = ''] = parts;
  if (target === undefined) throw new Error(noVolumes(`anonymous volume at "${source}"`));
  const host = hostPath(source, place);
  if (host === undefined) throw new Error(noVolumes(`volume "${source}"`));
  const mode = volumeMode(options, text);
  return { type: 'bind', source: host, target: absoluteTarget(target, text), createSource: true, ...mode };
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

/** `type=bind|tmpfs,source=…,target=…[,readonly][,bind-propagation=…][,tmpfs-size=…][,tmpfs-mode=…]`, as CSV. */
export function parseMount(text: string, place: MountPlace): MountRequest {
  const fields = mountFields(text);
  const type = fields.get('type') ?? 'volume';
  fields.delete('type');
  const target = take(fields, ['target', 'destination', 'dst']);
  const source = take(fields, ['source', 'src']);
  if (target === undefined) throw new Error('target is required');
  if (type === 'tmpfs') return tmpfsMount(fields, target, source);
  if (type !== 'bind') {
    throw new Error(
      type === 'volume'
        ? noVolumes('mount type "volume"')
        : `mount type ${JSON.stringify(type)} is not supported`,
    );
  }
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

function mountFields(text: string): Map<string, string> {
  const fields = new Map<string, string>();
  for (const part of splitCsv(text)) {
    const equals = part.indexOf('=');
    const key = (equals < 0 ? part : part.slice(0, equals)).toLowerCase();
    if (equals < 0 && !['readonly', 'ro', 'bind-nonrecursive', 'bind-create-src'].includes(key)) {
      throw new Error(`invalid field '${part}' must be a key=value pair`);
    }
    fields.set(key, equals < 0 ? 'true' : part.slice(equals + 1));
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

function noVolumes(what: string): string {
  return `${what}: named volumes are not supported yet; give a directory of the host, such as "$PWD/data:/data"`;
}
