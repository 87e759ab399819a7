import { TinyrunError } from '../errors.ts';
import { openAuthorizer } from './auth.ts';
import { parseChallenges } from './challenge.ts';
import { transportFor } from './client.ts';
import type { Credentials } from './credentials.ts';
import { openEndpoints } from './endpoints.ts';
import { RegistryError, registryErrorIn } from './errors.ts';
import { endpointsFor } from './mirrors.ts';
import { loadRegistriesConf } from './registries-conf.ts';
import type { RegistryOptions } from './registry.ts';
import { DEFAULT_RETRY, retrying } from './retry.ts';

/**
 * Asks a registry whether it takes these credentials: `GET /v2/`, its challenge answered with a token or the password.
 * @param host as references name it: `docker.io`, `localhost:5000`
 * @throws TinyrunError `unauthorized` where it does not; RegistryError where it cannot be asked
 */
export async function verifyCredentials(
  host: string,
  credentials: Credentials,
  options: RegistryOptions,
): Promise<void> {
  const transport = transportFor(options);
  try {
    const config = await loadRegistriesConf(options.env, options.registriesConf);
    const endpoint = endpointsFor({ registry: host, repository: 'library/any' }, config).at(-1);
    if (endpoint === undefined) throw new Error('a registry without an endpoint');
    const baseOf = openEndpoints(transport, options.insecure ?? false);
    const authorizer = openAuthorizer(transport, async () => credentials);
    const policy = { ...DEFAULT_RETRY, ...options.retry };
    await retrying(
      async () => {
        const base = await baseOf(endpoint);
        const url = new URL('/v2/', base.url);
        const request = { method: 'GET', url, headers: {}, insecure: base.insecure } as const;
        const first = await transport.follow(request);
        if (first.status === 200) return first.discard();
        if (first.status !== 401 || first.url.origin !== url.origin) throw await first.error();
        const challenges = parseChallenges(first.headers('www-authenticate'));
        const target = {
          host: endpoint.host,
          base: base.url,
          repository: '',
          scope: '',
          insecure: base.insecure,
        };
        const authorization = await authorizer.answer(target, challenges, undefined);
        if (authorization === undefined) throw await first.error();
        first.discard();
        const second = await transport.follow({ ...request, authorization });
        if (second.status !== 200) throw await second.error();
        second.discard();
      },
      policy,
      { signal: options.signal },
    );
  } catch (error) {
    throw refused(error, host);
  } finally {
    transport.close();
  }
}

/** What a registry says of wrong credentials, in the words that Docker's users know. */
function refused(error: unknown, host: string): unknown {
  const found = registryErrorIn(error);
  if (!(found instanceof RegistryError) || ![401, 403].includes(found.status ?? 0)) return error;
  return new TinyrunError(
    'unauthorized',
    `Cannot log in to "${host}": unauthorized: incorrect username or password`,
    { cause: error },
  );
}
