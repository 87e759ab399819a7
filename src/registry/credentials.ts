import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { errorCode, TinyrunError } from '../errors.ts';
import { runCredentialHelper } from './credential-helper.ts';
import { type JsonObject, parseJsonObject, shapeOf } from './json-shape.ts';
import type { Environment } from './proxy.ts';
import { DEFAULT_REGISTRY } from './reference.ts';

/** What proves who the user is. Never part of a message, a log line or an argument vector. */
export type Credentials =
  | { readonly type: 'basic'; readonly username: string; readonly password: string }
  /** A refresh token, which the token server changes for access tokens. */
  | { readonly type: 'identity'; readonly token: string; readonly username?: string }
  /** Sent as it is. */
  | { readonly type: 'bearer'; readonly token: string };

export interface CredentialSources {
  readonly env: Environment;
  /** `--config`, `DOCKER_CONFIG` or `~/.docker`. */
  readonly dockerConfigDir: string;
  /** Milliseconds for a credential helper; default 60,000, for it may ask for a passphrase. */
  readonly helperTimeout?: number;
}

/** Docker Hub's key in every config file since the days of the v1 API. */
export const HUB_KEY = 'https://index.docker.io/v1/';
export const HUB_NAMES: readonly string[] = [
  HUB_KEY,
  DEFAULT_REGISTRY,
  'index.docker.io',
  'registry-1.docker.io',
];
const LONGEST_CONFIG = 1024 * 1024;

/**
 * The credentials for a repository, or undefined for none: the first file that knows the host decides.
 *
 * DOCKER_AUTH_CONFIG and REGISTRY_AUTH_FILE were set for this very command, so they come first. Docker's config.json is
 * next: `tinyrun login` writes it, and Docker's users expect it. Podman's files follow in Podman's order.
 * @param host of the registry as references name it: `docker.io`, `localhost:5000`
 * @throws TinyrunError `invalid` for a damaged file; `unauthorized` where a configured helper is missing or fails, because
 *   going on without it would try the wrong account (CVE-2021-41092)
 */
export async function findCredentials(
  host: string,
  repository: string,
  sources: CredentialSources,
): Promise<Credentials | undefined> {
  for (const { name, content } of configFiles(sources)) {
    const found = await fromConfig(content, name, host, repository, sources);
    if (found !== undefined) return found === 'anonymous' ? undefined : found;
  }
  return undefined;
}

function* configFiles({
  env,
  dockerConfigDir,
}: CredentialSources): Generator<{ name: string; content: JsonObject }> {
  if (env.DOCKER_AUTH_CONFIG) {
    const bytes = new TextEncoder().encode(env.DOCKER_AUTH_CONFIG);
    yield {
      name: 'DOCKER_AUTH_CONFIG',
      content: parseJsonObject(bytes, 'DOCKER_AUTH_CONFIG', LONGEST_CONFIG),
    };
  }
  const configHome = env.XDG_CONFIG_HOME || (env.HOME ? join(env.HOME, '.config') : undefined);
  const paths = [
    env.REGISTRY_AUTH_FILE,
    join(dockerConfigDir, 'config.json'),
    env.XDG_RUNTIME_DIR && join(env.XDG_RUNTIME_DIR, 'containers', 'auth.json'),
    '/run/containers/0/auth.json',
    configHome && join(configHome, 'containers', 'auth.json'),
  ];
  for (const path of paths) {
    const bytes = path ? readIfThere(path) : undefined;
    if (path && bytes !== undefined && bytes.length > 0) {
      yield { name: path, content: parseJsonObject(bytes, `"${path}"`, LONGEST_CONFIG) };
    }
  }
}

function readIfThere(path: string): Uint8Array | undefined {
  try {
    return readFileSync(path);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'EACCES'].includes(errorCode(error) ?? '')) return undefined;
    throw new TinyrunError('invalid', `Cannot read "${path}"`, { cause: error });
  }
}

/** `credHelpers` before `credsStore` before `auths`; a helper that does not know the host means: anonymous. */
async function fromConfig(
  config: JsonObject,
  name: string,
  host: string,
  repository: string,
  sources: CredentialSources,
): Promise<Credentials | 'anonymous' | undefined> {
  const shape = shapeOf(`"${name}"`);
  const names = host === DEFAULT_REGISTRY ? HUB_NAMES : [host];
  const helpers = shape.map(config, 'credHelpers') ?? {};
  const helperKey = names.find((key) => Object.hasOwn(helpers, key));
  const server = host === DEFAULT_REGISTRY ? HUB_KEY : host;
  const timeout = sources.helperTimeout ?? 60_000;
  if (helperKey !== undefined && helpers[helperKey] !== undefined) {
    const found = await runCredentialHelper(helpers[helperKey], server, { env: sources.env, timeout });
    return found ?? 'anonymous';
  }
  const store = shape.text(config, 'credsStore');
  if (store !== undefined && store !== '') {
    const found = await runCredentialHelper(store, server, { env: sources.env, timeout });
    if (found !== undefined) return found;
  }
  const auths =
    config.auths === undefined || config.auths === null ? {} : shape.object(config.auths, 'auths');
  const key = bestKey(Object.keys(auths), names, repository);
  if (key === undefined) return undefined;
  return fromEntry(shape.object(auths[key], `auths["${key}"]`), `"${name}", entry "${key}"`);
}

/** Podman's keys may name a namespace or a repository: the most specific wins. Docker's may be URLs. */
function bestKey(keys: readonly string[], hosts: readonly string[], repository: string): string | undefined {
  const parts = repository.split('/');
  for (let length = parts.length; length > 0; length--) {
    const wanted = hosts.map((host) => `${host}/${parts.slice(0, length).join('/')}`);
    const found = keys.find((key) => wanted.includes(key));
    if (found !== undefined) return found;
  }
  return keys.find((key) => hosts.includes(key)) ?? keys.find((key) => hosts.includes(hostOfKey(key)));
}

/** `https://registry.example.com/v1/` → `registry.example.com`, as Docker's ConvertToHostname. A namespace is no URL. */
export function hostOfKey(key: string): string {
  const match = /^https?:\/\/([^/]+)/.exec(key);
  return match?.[1] ?? key.replace(/\/v[12]\/?$/, '').replace(/\/$/, '');
}

function fromEntry(entry: JsonObject, where: string): Credentials | undefined {
  const shape = shapeOf(where);
  const bearer = shape.text(entry, 'registrytoken');
  if (bearer) return { type: 'bearer', token: bearer };
  const decoded = decodeAuth(shape.text(entry, 'auth') ?? '', where);
  const username = decoded?.username ?? shape.text(entry, 'username');
  const identity = shape.text(entry, 'identitytoken');
  if (identity) {
    return { type: 'identity', token: identity, ...(username && username !== '<token>' ? { username } : {}) };
  }
  const password = decoded?.password ?? shape.text(entry, 'password');
  // An empty entry is what Docker leaves behind when the secret is in a store.
  if (!username || password === undefined) return undefined;
  return { type: 'basic', username, password };
}

/** Base64 of `user:password`. The text itself never appears in the error. */
function decodeAuth(auth: string, where: string): { username: string; password: string } | undefined {
  if (auth === '') return undefined;
  const text = Buffer.from(auth, 'base64').toString('utf8');
  const colon = text.indexOf(':');
  if (colon < 1 || !/^[A-Za-z0-9+/=_-]+$/.test(auth)) {
    throw new TinyrunError(
      'invalid',
      `Cannot read ${where}: "auth" is not the base64 form of "user:password"`,
    );
  }
  // Docker pads with NUL bytes.
  return { username: text.slice(0, colon), password: text.slice(colon + 1).replace(/^\0+|\0+$/g, '') };
}
