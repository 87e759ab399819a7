import type { Core } from './core.ts';
import { registryOptions } from './registry-options.ts';

export interface LoginRequest {
  /** `host[:port]` or a URL; empty: Docker Hub. */
  readonly server: string;
  readonly username: string;
  readonly password: string;
  readonly signal?: AbortSignal;
}

/** Milliseconds for a credential helper, which may ask for a passphrase. */
const HELPER_PATIENCE = 60_000;

/**
 * Verifies credentials and keeps them in Docker's config.json, or in the credential helper that this names.
 * @returns the file, where it holds the password unencrypted now
 * @throws TinyrunError `unauthorized`, `unavailable`
 */
export async function login(core: Core, request: LoginRequest): Promise<{ plainFile?: string }> {
  const [{ verifyCredentials }, { registryOfKey, saveCredentials, serverKey }] = await Promise.all([
    import('../registry/login.ts'),
    import('../registry/docker-config.ts'),
  ]);
  const { username, password } = request;
  const key = serverKey(request.server);
  const options = registryOptions(core, request.signal);
  await verifyCredentials(registryOfKey(key), { type: 'basic', username, password }, options);
  const config = { directory: options.dockerConfigDir, env: core.env, timeout: HELPER_PATIENCE };
  const plainFile = await saveCredentials(config, { key, username, password });
  return plainFile === undefined ? {} : { plainFile };
}

/** Forgets a server's credentials. @returns Docker's name of the server, and whether it was logged in */
export async function logout(core: Core, server: string): Promise<{ server: string; removed: boolean }> {
  const { removeCredentials, serverKey } = await import('../registry/docker-config.ts');
  const key = serverKey(server);
  const directory = registryOptions(core).dockerConfigDir;
  const removed = await removeCredentials({ directory, env: core.env, timeout: HELPER_PATIENCE }, key);
  return { server: key, removed };
}
