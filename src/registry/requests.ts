import { type AuthTarget, openAuthorizer } from './auth.ts';
import { parseChallenges } from './challenge.ts';
import { type CredentialSources, type Credentials, findCredentials } from './credentials.ts';
import { openEndpoints } from './endpoints.ts';
import type { Endpoint } from './mirrors.ts';
import { isLoopback } from './proxy.ts';
import type { RequestBody } from './request-body.ts';
import type { Reply, Request, Transport } from './transport.ts';

export interface EndpointRequest {
  readonly method: Request['method'];
  /** Below `/v2/<repository>/`. */
  readonly path?: string;
  /** A whole address in place of the path: where a registry wants an upload. Credentials go to the registry's origin only. */
  readonly at?: URL;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: RequestBody;
  /** What is to be done in the repository; default `pull`. */
  readonly actions?: string;
  /** What else the token must be good for, such as `repository:library/busybox:pull`. */
  readonly moreScope?: string;
}

/** One request to one registry, its challenge answered. Any status is an answer. */
export type EndpointCall = (endpoint: Endpoint, wanted: EndpointRequest) => Promise<Reply>;

/** @param insecure the user's word for every registry */
export function openRequests(
  transport: Transport,
  sources: CredentialSources,
  insecure: boolean,
): EndpointCall {
  const baseOf = openEndpoints(transport, insecure);
  const lookups = new Map<string, Promise<Credentials | undefined>>();
  const authorizer = openAuthorizer(transport, (host, repository) => {
    const key = `${host}/${repository}`;
    const known = lookups.get(key) ?? findCredentials(host, repository, sources);
    lookups.set(key, known);
    return known;
  });
  return async (endpoint, wanted) => {
    const base = await baseOf(endpoint);
    const { repository } = endpoint;
    const url = wanted.at ?? new URL(`/v2/${encodeURI(repository)}/${wanted.path ?? ''}`, base.url);
    const own = `repository:${repository}:${wanted.actions ?? 'pull'}`;
    const target: AuthTarget = {
      host: endpoint.host,
      base: base.url,
      repository,
      scope: wanted.moreScope === undefined ? own : `${own} ${wanted.moreScope}`,
      insecure: base.insecure,
    };
    const { method, headers = {}, body } = wanted;
    const isOwn = url.origin === base.url.origin;
    const insecure = base.insecure && (isOwn || isLoopback(url.hostname));
    const ask = (authorization: string | undefined): Promise<Reply> =>
      transport.follow({
        method,
        url,
        headers,
        ...(body === undefined ? {} : { body }),
        authorization: isOwn ? authorization : undefined,
        insecure,
      });
    const known = authorizer.known(target);
    const reply = await ask(known);
    // Only the registry itself may ask for credentials, not the storage it redirects to (CVE-2020-15157).
    if (reply.status !== 401 || !isOwn || reply.url.origin !== url.origin) return reply;
    const challenges = parseChallenges(reply.headers('www-authenticate'));
    const authorization = await authorizer.answer(target, challenges, known);
    if (authorization === undefined) return reply;
    reply.discard();
    // A second 401 is the answer: a registry that asks for ever is not asked again.
    return ask(authorization);
  };
}
