import { TinyrunError } from '../../errors.ts';
import { parseBool, parseBytes } from '../../oci/go-values.ts';
import { splitFields } from '../csv.ts';
import type { MountSharing, RawMount, RunMount } from './ast.ts';
import { didYouMean } from './suggest.ts';

/**
 * `RUN --mount=type=…,…`: https://docs.docker.com/reference/dockerfile/#run---mount
 */
const TYPES = ['bind', 'cache', 'tmpfs', 'secret', 'ssh'] as const;
type MountType = (typeof TYPES)[number];
const SHARING: readonly MountSharing[] = ['shared', 'private', 'locked'];
/** The same option by another name. */
const ALIASES: Readonly<Record<string, string>> = {
  src: 'source',
  dst: 'target',
  destination: 'target',
  ro: 'readonly',
  rw: 'readwrite',
};
const KEYS = [
  'type',
  'from',
  'source',
  'target',
  'readonly',
  'readwrite',
  'required',
  'size',
  'id',
  'sharing',
  'mode',
  'uid',
  'gid',
  'env',
];

/** What can be said before variables are known: where it comes from. */
export function rawMount(text: string): RawMount {
  let from: string | undefined;
  for (const field of csvFields(text)) {
    const { key, value } = pairOf(field);
    if (key !== 'from' || value === undefined) continue;
    const dollar = value.indexOf('$');
    if (dollar >= 0 && dollar !== value.length - 1)
      throw invalid("'from' doesn't support variable expansion, define alias stage instead");
    from = value;
  }
  return from === undefined ? { text } : { text, from };
}

interface Fields {
  type: MountType;
  from?: string;
  source?: string;
  target?: string;
  readOnly?: boolean;
  required?: boolean;
  size?: number;
  id?: string;
  sharing?: MountSharing;
  mode?: number;
  uid?: number;
  gid?: number;
  env?: string;
}

/**
 * @param expandValue expands the variables of one value
 * @throws TinyrunError in BuildKit's words
 */
export function parseMount({ text }: RawMount, expandValue: (value: string) => string): RunMount {
  const fields: Fields = { type: 'bind' };
  for (const field of csvFields(text)) {
    const { key, written, value } = pairOf(field);
    setField(fields, { key, written, field, value: value === undefined ? undefined : expandValue(value) });
  }
  check(fields);
  return mountOf(fields);
}

interface Field {
  readonly key: string;
  readonly written: string;
  readonly field: string;
  readonly value: string | undefined;
}

function pairOf(field: string): { key: string; written: string; value: string | undefined } {
  const at = field.indexOf('=');
  const written = (at < 0 ? field : field.slice(0, at)).toLowerCase();
  return { key: ALIASES[written] ?? written, written, value: at < 0 ? undefined : field.slice(at + 1) };
}

function setField(fields: Fields, given: Field): void {
  const { key, written, field } = given;
  const bare = given.value === undefined;
  if (bare && key !== 'readonly' && key !== 'readwrite' && key !== 'required')
    throw invalid(`invalid field '${field}' must be a key=value pair`);
  const value = given.value ?? 'true';
  const only = (...types: readonly MountType[]): void => {
    if (!types.includes(fields.type))
      throw invalid(`unexpected key '${written}' for mount type '${fields.type}'`);
  };
  switch (key) {
    case 'type':
      fields.type = oneOf(value, TYPES, `unsupported mount type ${JSON.stringify(value)}`);
      return;
    case 'from':
    case 'source':
    case 'target':
    case 'id':
    case 'env':
      fields[key] = value;
      return;
    case 'readonly':
      fields.readOnly = read(() => parseBool(value), `invalid value for ${written}: ${value}`);
      return;
    case 'readwrite':
      fields.readOnly = !read(() => parseBool(value), `invalid value for ${written}: ${value}`);
      return;
    case 'required':
      only('secret', 'ssh');
      fields.required = read(() => parseBool(value), `invalid value for ${written}: ${value}`);
      return;
    case 'size':
      only('tmpfs');
      fields.size = read(() => parseBytes(value), `invalid value for ${written}: ${value}`);
      return;
    case 'sharing':
      fields.sharing = oneOf(value, SHARING, `unsupported sharing value ${JSON.stringify(value)}`);
      return;
    case 'mode':
    case 'uid':
    case 'gid':
      fields[key] = numberOf(value, key);
      return;
    default:
      throw invalid(
        `unexpected key '${written}' in '${field}'${didYouMean(written, [...KEYS, ...Object.keys(ALIASES)], true)}`,
      );
  }
}

function oneOf<T extends string>(value: string, choices: readonly T[], message: string): T {
  const lower = value.toLowerCase();
  const found = choices.find((choice) => choice === lower);
  if (found === undefined) throw invalid(`${message}${didYouMean(value, choices, true)}`);
  return found;
}

/** `mode` is octal. */
function numberOf(value: string, key: 'mode' | 'uid' | 'gid'): number {
  const octal = key === 'mode';
  const number = (octal ? /^[0-7]+$/ : /^[0-9]+$/).test(value) ? Number.parseInt(value, octal ? 8 : 10) : -1;
  if (number < 0 || number > 0xffffffff) throw invalid(`invalid value ${value} for ${key}`);
  return number;
}

function read<T>(parse: () => T, message: string): T {
  try {
    return parse();
  } catch {
    throw invalid(message);
  }
}

function check(fields: Fields): void {
  const { type } = fields;
  if (type === 'bind' || type === 'tmpfs') {
    for (const key of ['mode', 'uid', 'gid'] as const)
      if (fields[key] !== undefined)
        throw invalid(`${key} not allowed for ${JSON.stringify(type)} type mounts`);
  }
  if (type === 'secret') {
    if (given(fields.from)) throw invalid('secret mount should not have a from');
    if (fields.sharing !== undefined) throw invalid('secret mount should not define sharing');
    if (!given(fields.source) && !given(fields.target) && !given(fields.id))
      throw invalid('invalid secret mount. one of source, target required');
    if (given(fields.source) && given(fields.id)) throw invalid("both source and id can't be set");
  }
  if (type === 'ssh' && given(fields.source)) throw invalid('ssh does not support source');
  if (fields.sharing !== undefined && type !== 'cache')
    throw invalid(`invalid cache sharing set for ${type} mount`);
}

function given(value: string | undefined): value is string {
  return value !== undefined && value !== '';
}

function mountOf(fields: Fields): RunMount {
  const { type, size, mode, uid, gid } = fields;
  const owner = { ...some('mode', mode), ...some('uid', uid), ...some('gid', gid) };
  const target = given(fields.target) ? fields.target : undefined;
  const origin = { ...some('from', text(fields.from)), ...some('source', text(fields.source)) };
  switch (type) {
    case 'bind':
      return { type, ...origin, target: needed(target), readOnly: fields.readOnly ?? true };
    case 'tmpfs':
      return { type, target: needed(target), ...some('size', size), readOnly: fields.readOnly ?? false };
    case 'cache':
      return {
        type,
        ...some('id', text(fields.id)),
        ...origin,
        target: needed(target),
        readOnly: fields.readOnly ?? false,
        sharing: fields.sharing ?? 'shared',
        ...owner,
      };
    case 'secret': {
      const id = text(fields.source) ?? text(fields.id) ?? baseName(target ?? '');
      // With a variable only, there is no file unless one is asked for.
      const file = target ?? (fields.env === undefined ? `/run/secrets/${baseName(id)}` : undefined);
      const env = fields.env === undefined ? undefined : fields.env === '' ? id : fields.env;
      return {
        type,
        id,
        ...some('target', file),
        ...some('env', env),
        required: fields.required ?? false,
        ...owner,
      };
    }
    case 'ssh':
      return {
        type,
        id: text(fields.id) ?? 'default',
        ...some('target', target),
        required: fields.required ?? false,
        ...owner,
      };
  }
}

function some<Key extends string, T>(key: Key, value: T | undefined): { [K in Key]?: T } {
  return value === undefined ? {} : ({ [key]: value } as { [K in Key]?: T });
}

function text(value: string | undefined): string | undefined {
  return given(value) ? value : undefined;
}

function needed(target: string | undefined): string {
  if (target === undefined) throw invalid('invalid mount target ""');
  return target;
}

function baseName(path: string): string {
  return path.replace(/\/+$/, '').split('/').at(-1) ?? '';
}

function csvFields(line: string): string[] {
  return splitFields(line, 'failed to parse csv mounts: bare or extraneous " in field');
}

function invalid(message: string): TinyrunError {
  return new TinyrunError('invalid', message);
}
