import { RegistryError } from './errors.ts';
import { printableUrl } from './printable.ts';
import { isLoopback } from './proxy.ts';
import type { Reply, Request } from './transport.ts';

const MOST_REDIRECTS = 10;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);
/** A redirect of anything else would carry what is sent to another place. */
const FOLLOWED = new Set(['GET', 'HEAD']);

/**
 * By hand, because who may see the Authorization header is decided here: the origin it was made for, and no other
 * (a subdomain or another port is another). Nor does a redirect lead from https to http.
 */
export async function followRedirects(
  request: Request,
  send: (request: Request) => Promise<Reply>,
): Promise<Reply> {
  const seen = new Set<string>([request.url.href]);
  let current = request;
  for (;;) {
    const reply = await send(current);
    if (!REDIRECTS.has(reply.status) || !FOLLOWED.has(request.method)) return reply;
    const location = reply.header('location');
    const fail = (why: string): RegistryError => {
      reply.discard();
      return new RegistryError('invalid', `${current.method} ${printableUrl(current.url)}: ${why}`);
    };
    if (location === undefined) throw fail(`${reply.status} without a Location header`);
    const next = redirectTarget(location, current.url);
    if (next === undefined)
      throw fail(`redirects to "${printableUrl(location)}", which is no usable address`);
    if (current.url.protocol === 'https:' && next.protocol === 'http:') {
      throw fail(`redirects from https to ${printableUrl(next)}, which is not encrypted`);
    }
    if (seen.has(next.href)) throw fail('redirects in a circle');
    if (seen.size > MOST_REDIRECTS) throw fail(`redirects more than ${MOST_REDIRECTS} times`);
    seen.add(next.href);
    reply.discard();
    const isSameOrigin = next.origin === request.url.origin;
    current = {
      ...request,
      url: next,
      // Once elsewhere, the chain has been in other hands: coming back does not bring the credentials back.
      authorization: isSameOrigin ? current.authorization : undefined,
      insecure: request.insecure && (isSameOrigin || isLoopback(next.hostname)),
    };
  }
}

function redirectTarget(location: string, from: URL): URL | undefined {
  let url: URL;
  try {
    url = new URL(location, from);
  } catch {
    return undefined;
  }
  const isUsable =
    (url.protocol === 'http:' || url.protocol === 'https:') && url.username === '' && url.password === '';
  url.hash = '';
  return isUsable ? url : undefined;
}
