import { isIP } from 'node:net';
import type { Challenge } from './challenge.ts';
import type { Credentials } from './credentials.ts';
import { RegistryError } from './errors.ts';
import { parseJsonObject, shapeOf } from './json-shape.ts';
import { printable, printableUrl } from './printable.ts';
import { isLoopback } from './proxy.ts';
import type { Reply, Request, Transport } from './transport.ts';

/** Bytes of a token server's answer. */
const LONGEST_TOKEN = 1024 * 1024;
/** Seconds, where the server says nothing: the token specification's default. */
const DEFAULT_LIFE = 60;
const LONGEST_LIFE = 24 * 3600;
const CLIENT_ID = 'tinyrun';

export interface AuthTarget {
  /** The registry's name as config files write it: `docker.io`. */
  readonly host: string;
  /** The registry's own URL. */
  readonly base: URL;
  readonly repository: string;
  /** Such as `repository:library/busybox:pull`. */
  readonly scope: string;
  readonly insecure: boolean;
}

export interface Authorizer {
  /** The header for a request, where it is known already. */
  known(target: AuthTarget): string | undefined;
  /**
   * Answers a 401: fetches a token, or falls back to the password; undefined where there is nothing to answer with.
   * @param refused the header that the request had
   */
  answer(
    target: AuthTarget,
    challenges: readonly Challenge[],
    refused: string | undefined,
  ): Promise<string | undefined>;
}

interface Grant {
  readonly header: string;
  /** Milliseconds of performance.now(). */
  readonly until: number;
}

/** @param credentials looks them up; asked only once a server wants them */
export function openAuthorizer(
  transport: Transport,
  credentials: (host: string, repository: string) => Promise<Credentials | undefined>,
): Authorizer {
  const grants = new Map<string, Grant>();
  const underWay = new Map<string, Promise<Grant | undefined>>();
  const keyOf = ({ base, scope }: AuthTarget): string => `${base.origin} ${scope}`;
  const known = (target: AuthTarget): string | undefined => {
    const grant = grants.get(keyOf(target));
    return grant !== undefined && grant.until > performance.now() ? grant.header : undefined;
  };
  return {
    known,
    async answer(target, challenges, refused) {
      const key = keyOf(target);
      // Eight layers that meet an expired token at once need one new token, not eight: a late one finds it here.
      const newer = known(target);
      if (newer !== undefined && newer !== refused) return newer;
      let pending = underWay.get(key);
      if (pending === undefined) {
        grants.delete(key);
        pending = obtain(target, challenges, transport, credentials).finally(() => underWay.delete(key));
        underWay.set(key, pending);
      }
      const grant = await pending;
      if (grant !== undefined) grants.set(key, grant);
      return grant?.header;
    },
  };
}

async function obtain(
  target: AuthTarget,
  challenges: readonly Challenge[],
  transport: Transport,
  lookUp: (host: string, repository: string) => Promise<Credentials | undefined>,
): Promise<Grant | undefined> {
  const bearer = challenges.find(({ scheme, parameters }) => scheme === 'bearer' && parameters.has('realm'));
  const basic = challenges.find(({ scheme }) => scheme === 'basic');
  if (bearer === undefined && basic === undefined) return undefined;
  const found = await lookUp(target.host, target.repository);
  if (found?.type === 'bearer')
    return { header: `Bearer ${headerSafe(found.token)}`, until: Number.POSITIVE_INFINITY };
  if (bearer !== undefined) return fetchToken(target, bearer, found, transport);
  if (found?.type !== 'basic') return undefined;
  return { header: basicHeader(found.username, found.password), until: Number.POSITIVE_INFINITY };
}

function basicHeader(username: string, password: string): string {
  return `Basic ${Buffer.from(`${username}:${password}`, 'utf8').toString('base64')}`;
}

/**
 * @see https://distribution.github.io/distribution/spec/auth/token/
 * @see https://distribution.github.io/distribution/spec/auth/oauth/
 */
async function fetchToken(
  target: AuthTarget,
  challenge: Challenge,
  credentials: Credentials | undefined,
  transport: Transport,
): Promise<Grant> {
  const realm = checkedRealm(challenge.parameters.get('realm') ?? '', target);
  const parameters = new URLSearchParams();
  const service = challenge.parameters.get('service');
  if (service !== undefined) parameters.set('service', service);
  const scopes = (challenge.parameters.get('scope') ?? target.scope)
    .split(' ')
    .filter((scope) => scope !== '');
  const insecure = target.insecure && realm.hostname === target.base.hostname;

  const get = (): Promise<Reply> => {
    const url = new URL(realm);
    for (const [name, value] of parameters) url.searchParams.append(name, value);
    for (const scope of scopes) url.searchParams.append('scope', scope);
    const isBasic = credentials?.type === 'basic';
    if (isBasic) url.searchParams.set('account', credentials.username);
    const authorization = isBasic ? basicHeader(credentials.username, credentials.password) : undefined;
    return transport.follow({ method: 'GET', url, headers: {}, authorization, insecure });
  };
  const post = (): Promise<Reply> => {
    const form = new URLSearchParams(parameters);
    form.set('client_id', CLIENT_ID);
    if (scopes.length > 0) form.set('scope', scopes.join(' '));
    for (const [name, value] of grantFields(credentials)) form.set(name, value);
    const request: Request = { method: 'POST', url: realm, headers: {}, form, insecure };
    // A redirect would carry the secret in the form to another place: any answer but 200 is final.
    return transport.send(request);
  };

  let reply = credentials?.type === 'identity' ? await post() : await get();
  // Some servers know only the OAuth form.
  if ((reply.status === 404 || reply.status === 405) && credentials?.type === 'basic') {
    reply.discard();
    reply = await post();
  }
  if (reply.status !== 200) throw await tokenError(reply, target);
  const bytes = await reply.read(LONGEST_TOKEN);
  try {
    return parseToken(bytes, target);
  } catch (cause) {
    // An answer without a length may have been cut off: nothing else tells.
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new RegistryError('invalid', message, { cause, retry: 'once' });
  }
}

function grantFields(credentials: Credentials | undefined): [string, string][] {
  if (credentials?.type === 'identity') {
    return [
      ['grant_type', 'refresh_token'],
      ['refresh_token', credentials.token],
    ];
  }
  if (credentials?.type !== 'basic') return [];
  return [
    ['grant_type', 'password'],
    ['access_type', 'offline'],
    ['username', credentials.username],
    ['password', credentials.password],
  ];
}

async function tokenError(reply: Reply, target: AuthTarget): Promise<RegistryError> {
  const error = await reply.error();
  // Passing trouble of the token server (429, 5xx) is retried as such; a refusal is about the user.
  if (error.retry !== 'never') return error;
  return new RegistryError('unauthorized', `Cannot get a token for "${target.host}"`, {
    status: error.status ?? reply.status,
    registryCode: error.registryCode ?? 'UNAUTHORIZED',
    cause: error,
  });
}

function parseToken(bytes: Uint8Array, target: AuthTarget): Grant {
  const document = `token for "${target.host}"`;
  const raw = parseJsonObject(bytes, document, LONGEST_TOKEN);
  const shape = shapeOf(document);
  const token = shape.text(raw, 'token') || shape.text(raw, 'access_token');
  if (!token) throw shape.fail('token', 'there');
  const said = raw.expires_in;
  const life = typeof said === 'number' && said > 0 ? Math.min(said, LONGEST_LIFE) : DEFAULT_LIFE;
  // A tenth early: the clock of the server starts before the answer arrives.
  return { header: `Bearer ${headerSafe(token)}`, until: performance.now() + life * 900 };
}

/** A line break in a token would write headers of its own. */
function headerSafe(token: string): string {
  if (/^[\x21-\x7e]+$/.test(token)) return token;
  throw new RegistryError('invalid', 'Cannot use token: it has characters that no HTTP header may have');
}

/**
 * The token server's address, which the registry chose and to which the user's password goes: encrypted, unless the
 * registry itself is reached without encryption and the address is on the same host (CVE-2020-15157), and not a way into
 * this machine's loopback for a registry elsewhere. A name that resolves to loopback is out of scope.
 */
function checkedRealm(realm: string, { base, host }: AuthTarget): URL {
  const refuse = (why: string): RegistryError =>
    new RegistryError(
      'denied',
      `Cannot log in to "${host}": its token server "${printableUrl(realm)}" ${why}`,
    );
  let url: URL;
  try {
    url = new URL(realm);
  } catch {
    throw new RegistryError(
      'invalid',
      `Cannot log in to "${host}": "${printable(realm, 100)}" is no address`,
    );
  }
  if (url.protocol !== 'https:' && url.protocol !== 'http:') throw refuse('is not http');
  if (url.username !== '' || url.password !== '') throw refuse('has a password in its address');
  const isNear = isLoopback(base.hostname);
  if (url.protocol === 'http:') {
    if (base.protocol === 'https:') throw refuse('is not encrypted');
    if (url.hostname !== base.hostname && !(isNear && isLoopback(url.hostname)))
      throw refuse('is not encrypted');
  }
  if (!isNear && url.hostname !== base.hostname && isLocalAddress(url.hostname)) {
    throw refuse('is an address of this machine');
  }
  url.hash = '';
  return url;
}

/** Loopback and link-local literals (cloud metadata services live there). */
function isLocalAddress(hostname: string): boolean {
  const bare = hostname.replace(/^\[|\]$/g, '');
  if (isLoopback(bare) || bare === '0.0.0.0' || bare === '::') return true;
  return isIP(bare) !== 0 && /^(169\.254\.|fe[89ab][0-9a-f]:|::ffff:)/i.test(bare);
}
