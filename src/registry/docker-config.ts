import { readFileSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { makePrivateDirectory, writeFileAtomic } from '../disk/atomic.ts';
import { errorCode, TinyrunError } from '../errors.ts';
import { eraseWithHelper, type HelperOptions, storeWithHelper } from './credential-helper.ts';
import { HUB_KEY, HUB_NAMES, hostOfKey } from './credentials.ts';
import { type JsonObject, parseJsonObject, shapeOf } from './json-shape.ts';

/** Bytes. */
const LONGEST_CONFIG = 1024 * 1024;

/** Docker's `config.json`, which other programs write, too. */
export interface DockerConfig extends HelperOptions {
  /** `--config`, `DOCKER_CONFIG` or `~/.docker`. */
  readonly directory: string;
}

/**
 * The key under which Docker keeps a server's credentials: its host, or for Docker Hub the address of the old index.
 * @param server as typed: `host[:port]`, a URL, or empty for Docker Hub
 */
export function serverKey(server: string): string {
  const host = hostOfKey(server).replace(/\/+$/, '');
  return host === '' || HUB_NAMES.includes(server) || HUB_NAMES.includes(host) ? HUB_KEY : host;
}

/** The registry that a key stands for, as references name it. */
export function registryOfKey(key: string): string {
  return key === HUB_KEY ? 'docker.io' : key;
}

/**
 * Keeps credentials where Docker would: in the helper that the config names for the server, or in the config itself.
 * @returns the file, where it holds the password now
 * @throws TinyrunError `unauthorized` (helper), `invalid` (damaged file)
 */
export async function saveCredentials(
  config: DockerConfig,
  entry: { readonly key: string; readonly username: string; readonly password: string },
): Promise<string | undefined> {
  const { path, content } = read(config);
  const { key, username, password } = entry;
  const helper = helperFor(content, path, key);
  if (helper !== undefined) {
    await storeWithHelper(helper, { server: key, username, secret: password }, config);
    // An empty entry is how Docker marks a server whose secret is in a store.
    write(path, { ...content, auths: { ...authsOf(content, path), [key]: {} } });
    return undefined;
  }
  const auth = Buffer.from(`${username}:${password}`, 'utf8').toString('base64');
  write(path, { ...content, auths: { ...authsOf(content, path), [key]: { auth } } });
  return path;
}

/** @returns whether there was anything to remove */
export async function removeCredentials(config: DockerConfig, key: string): Promise<boolean> {
  const { path, content } = read(config);
  const auths = authsOf(content, path);
  // Docker once wrote whole addresses.
  const gone = Object.keys(auths).filter((one) => one === key || (key !== HUB_KEY && hostOfKey(one) === key));
  const helper = helperFor(content, path, key);
  const isLoggedIn = gone.length > 0 || helperOfServer(content, path, key) !== undefined;
  if (!isLoggedIn) return false;
  if (helper !== undefined) await eraseWithHelper(helper, key, config);
  if (gone.length === 0) return true;
  const left = Object.fromEntries(Object.entries(auths).filter(([one]) => !gone.includes(one)));
  write(path, { ...content, auths: left });
  return true;
}

function read({ directory }: DockerConfig): { path: string; content: JsonObject } {
  const path = join(directory, 'config.json');
  try {
    const bytes = readFileSync(path);
    if (bytes.length === 0) return { path, content: {} };
    return { path, content: parseJsonObject(bytes, `"${path}"`, LONGEST_CONFIG) };
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return { path, content: {} };
    if (error instanceof TinyrunError) throw error;
    throw new TinyrunError('invalid', `Cannot read "${path}"`, { cause: error });
  }
}

/** Docker's layout: one tab. A link stays one: many keep their dot files elsewhere. */
function write(path: string, content: JsonObject): void {
  let target = path;
  try {
    target = realpathSync(path);
  } catch {
    makePrivateDirectory(join(path, '..'));
  }
  writeFileAtomic(target, `${JSON.stringify(content, null, '\t')}\n`, { mode: 0o600 });
}

function authsOf(content: JsonObject, path: string): JsonObject {
  const { auths } = content;
  return auths === undefined || auths === null ? {} : shapeOf(`"${path}"`).object(auths, 'auths');
}

function helperFor(content: JsonObject, path: string, key: string): string | undefined {
  const store = shapeOf(`"${path}"`).text(content, 'credsStore');
  return helperOfServer(content, path, key) ?? (store === '' ? undefined : store);
}

function helperOfServer(content: JsonObject, path: string, key: string): string | undefined {
  const helpers = shapeOf(`"${path}"`).map(content, 'credHelpers') ?? {};
  const names = key === HUB_KEY ? HUB_NAMES : [key];
  const name = names.find((one) => Object.hasOwn(helpers, one));
  return name === undefined ? undefined : helpers[name] || undefined;
}
