import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, errorCode, TinyrunError } from '../errors.ts';
import { type JsonObject, type Shape, shapeOf } from './json-shape.ts';
import type { MirrorRule, RegistriesConfig, RegistryRule } from './mirrors.ts';
import { printable } from './printable.ts';
import type { Environment } from './proxy.ts';

const OWN_FILE = '/etc/tinyrun/registries.conf';
const SYSTEM_FILE = '/etc/containers/registries.conf';

/**
 * What the registries.conf files say together: tinyrun's own first, then containers/image's (drop-ins before the file that
 * they amend). For each prefix the first file that has it wins.
 * @param given replaces the files of containers/image
 * @throws TinyrunError `invalid` naming file and field
 */
export async function loadRegistriesConf(
  env: Environment,
  given?: readonly string[],
  ownFile = OWN_FILE,
): Promise<RegistriesConfig> {
  const files = [ownFile, ...(given ?? containersFiles(env))];
  const rules = new Map<string, RegistryRule>();
  let aliases: RegistriesConfig['aliases'] = new Map();
  let searchRegistries: readonly string[] = [];
  for (const path of files) {
    const text = readIfThere(path);
    if (text === undefined) continue;
    const parsed = await parseRegistriesConf(text, path);
    for (const rule of parsed.rules) if (!rules.has(rule.prefix)) rules.set(rule.prefix, rule);
    // Only tinyrun's own file has a say on short names: see expandShortName().
    if (path !== ownFile) continue;
    aliases = parsed.aliases;
    searchRegistries = parsed.searchRegistries;
  }
  return { rules: [...rules.values()], aliases, searchRegistries };
}

/** Drop-ins amend the file in the order of their names, the later ones winning; the user's win over the system's. */
function containersFiles(env: Environment): string[] {
  if (env.CONTAINERS_REGISTRIES_CONF) return [env.CONTAINERS_REGISTRIES_CONF];
  const home = env.XDG_CONFIG_HOME || (env.HOME ? join(env.HOME, '.config') : undefined);
  const userFile = home === undefined ? undefined : join(home, 'containers', 'registries.conf');
  const dropIns = [userFile, SYSTEM_FILE].flatMap((file) =>
    file === undefined ? [] : confNames(`${file}.d`).map((name) => join(`${file}.d`, name)),
  );
  // The user's file replaces the system's; it does not amend it.
  const isUsers = userFile !== undefined && readIfThere(userFile) !== undefined;
  return [...dropIns, isUsers ? userFile : SYSTEM_FILE];
}

function confNames(directory: string): string[] {
  try {
    return readdirSync(directory)
      .filter((name) => name.endsWith('.conf'))
      .sort()
      .reverse();
  } catch (error) {
    if (isAbsent(error)) return [];
    throw error;
  }
}

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw new TinyrunError('invalid', `Cannot read "${path}"`, { cause: error });
  }
}

function isAbsent(error: unknown): boolean {
  return ['ENOENT', 'ENOTDIR', 'EACCES'].includes(errorCode(error) ?? '');
}

/**
 * One registries.conf of version 2.
 * @param file for messages
 * @see https://github.com/containers/image/blob/main/docs/containers-registries.conf.5.md
 */
export async function parseRegistriesConf(text: string, file: string): Promise<RegistriesConfig> {
  const { parse } = await import('smol-toml');
  let raw: JsonObject;
  try {
    raw = parse(text);
  } catch (cause) {
    const line = printable(describe(cause).split('\n')[0] ?? '', 160);
    throw new TinyrunError('invalid', `Cannot read "${file}": ${line}`);
  }
  const shape = shapeOf(`"${file}"`);
  if (raw.registries !== undefined) {
    throw new TinyrunError(
      'unsupported',
      `Cannot read "${file}": it has the version 1 format, expected [[registry]] tables`,
    );
  }
  const rules = (shape.list(raw, 'registry') ?? []).map((one, index) =>
    registryRule(one, index, shape, file),
  );
  const aliases = Object.entries(shape.map(raw, 'aliases') ?? {});
  for (const [name, target] of aliases) {
    if (!/^[^/]+\/.+/.test(target))
      throw shape.fail(`aliases.${name}`, 'a full name such as "docker.io/library/x"');
  }
  return {
    rules,
    aliases: new Map(aliases),
    searchRegistries: shape.texts(raw, 'unqualified-search-registries') ?? [],
  };
}

function registryRule(value: unknown, index: number, document: Shape, file: string): RegistryRule {
  const raw = document.object(value, `registry[${index}]`);
  const shape = document.within(`registry[${index}]`);
  const location = checkedLocation(shape.text(raw, 'location'), shape);
  const prefix = shape.text(raw, 'prefix') || location;
  if (prefix === undefined) throw shape.fail('prefix', 'there, nor is "location"');
  if (prefix.startsWith('*.') ? prefix.includes('/') : prefix.includes('*')) {
    throw shape.fail('prefix', 'a host, a host with a path, or "*." and a domain');
  }
  const byDigestOnly = shape.flag(raw, 'mirror-by-digest-only') ?? false;
  const mirrors = (shape.list(raw, 'mirror') ?? []).map((one, at) =>
    mirrorRule(one, at, shape, byDigestOnly),
  );
  return {
    prefix: prefix.replace(/\/+$/, ''),
    ...(location === undefined ? {} : { location }),
    insecure: shape.flag(raw, 'insecure') ?? false,
    blocked: shape.flag(raw, 'blocked') ?? false,
    mirrors,
    file,
  };
}

function mirrorRule(value: unknown, index: number, registry: Shape, byDigestOnly: boolean): MirrorRule {
  const raw = registry.object(value, `mirror[${index}]`);
  const shape = registry.within(`mirror[${index}]`);
  const location = checkedLocation(shape.text(raw, 'location'), shape);
  if (location === undefined) throw shape.fail('location', 'there');
  const pullFrom = shape.text(raw, 'pull-from-mirror') || (byDigestOnly ? 'digest-only' : 'all');
  if (pullFrom !== 'all' && pullFrom !== 'digest-only' && pullFrom !== 'tag-only') {
    throw shape.fail('pull-from-mirror', '"all", "digest-only" or "tag-only"');
  }
  return { location, insecure: shape.flag(raw, 'insecure') ?? false, pullFrom };
}

/** A host with an optional path; not a URL, which is the mistake that people make. */
function checkedLocation(location: string | undefined, shape: Shape): string | undefined {
  if (location === undefined || location === '') return undefined;
  if (/^[a-z]+:\/\/|\s|[?#@*]/i.test(location)) throw shape.fail('location', 'a host with an optional path');
  return location.replace(/\/+$/, '');
}
