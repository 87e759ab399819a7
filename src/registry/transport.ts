import { Agent as HttpAgent } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { Readable } from 'node:stream';
import fetch, { type Response } from 'node-fetch';
import { errorCode } from '../errors.ts';
import { type BodySource, readBounded, readStart } from './body.ts';
import {
  connectionError,
  isCertificateError,
  LONGEST_ERROR_BODY,
  RegistryError,
  replyError,
} from './errors.ts';
import { printable, printableUrl } from './printable.ts';
import { type Environment, proxyFor } from './proxy.ts';
import { followRedirects } from './redirects.ts';
import { bodyStream, type RequestBody } from './request-body.ts';
import { environmentAuthorities, hostCertificates, secureContextOptions, systemAuthorities } from './tls.ts';

export interface TransportOptions {
  readonly env: Environment;
  readonly certsDirs: readonly string[];
  readonly userAgent: string;
  /** Milliseconds until the headers of an answer must be there. */
  readonly headersTimeout: number;
  /** Milliseconds without a byte after which a body is given up. */
  readonly stall: number;
  readonly signal?: AbortSignal | undefined;
  readonly log?: ((line: string) => void) | undefined;
}

export interface Request {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  /** Sent to this URL's origin and to no other. */
  readonly authorization?: string | undefined;
  readonly form?: URLSearchParams;
  readonly body?: RequestBody;
  /** The user said that this registry's certificate, or its lack of one, does not matter. */
  readonly insecure: boolean;
}

export interface Reply {
  readonly method: string;
  /** Where the answer came from in the end. */
  readonly url: URL;
  readonly status: number;
  header(name: string): string | undefined;
  headers(name: string): readonly string[];
  readonly source: BodySource;
  /** The whole body; `invalid` beyond `longest` bytes. */
  read(longest: number): Promise<Uint8Array>;
  /** The status as an error; reads the body for what it says. */
  error(): Promise<RegistryError>;
  /** Gives the connection back; the body is not wanted. */
  discard(): void;
}

export interface Transport {
  /** One request, redirects not followed. Any status is an answer. */
  send(request: Request): Promise<Reply>;
  /** As send(), and follows redirects of GET and HEAD. */
  follow(request: Request): Promise<Reply>;
  close(): void;
}

/** More than one pull keeps busy, so that a slow consumer of one body does not hold up the next request. */
const MOST_SOCKETS = 16;

export function openTransport(options: TransportOptions): Transport {
  const agents = new Map<string, Promise<HttpAgent>>();
  const reached = new Set<string>();
  const trust: Trust = { extra: undefined, hasSystem: false };

  const agentFor = (url: URL, insecure: boolean): Promise<HttpAgent> => {
    const key = `${url.origin} ${insecure}`;
    const known = agents.get(key);
    if (known !== undefined) return known;
    trust.extra ??= environmentAuthorities(options.env);
    const made = makeAgent(url, insecure, options, trust.extra);
    agents.set(key, made);
    return made;
  };

  const attempt = async (request: Request): Promise<Reply> => {
    const response = await fetchHeaders(request, await agentFor(request.url, request.insecure), options);
    reached.add(request.url.host);
    return replyOf(request, response, options);
  };

  const send = async (request: Request): Promise<Reply> => {
    const { url, method } = request;
    const started = performance.now();
    try {
      const reply = await attempt(request);
      const took = Math.round(performance.now() - started);
      options.log?.(`${method} ${printableUrl(url)}: ${reply.status} in ${took} ms`);
      return reply;
    } catch (error) {
      options.signal?.throwIfAborted();
      if (error instanceof RegistryError) throw error;
      if (isCertificateError(errorCode(error)) && trustSystem(trust)) {
        agents.clear();
        return await send(request);
      }
      options.log?.(`${method} ${printableUrl(url)}: ${printable(String(errorCode(error) ?? error), 100)}`);
      throw connectionError(method, url, error, reached.has(url.host));
    }
  };

  return {
    send,
    follow: (request) => followRedirects(request, send),
    close() {
      for (const agent of agents.values()) agent.then((one) => one.destroy()).catch(() => {});
    },
  };
}

/** Authorities besides Node's own and the host's. */
interface Trust {
  extra: readonly string[] | undefined;
  hasSystem: boolean;
}

/**
 * The machine may trust an authority that Node does not know, as Docker does by default; reading them all takes 40 ms, so it
 * waits until a certificate was refused.
 * @returns whether there is anything new to trust
 */
function trustSystem(trust: Trust): boolean {
  if (trust.hasSystem) return false;
  trust.hasSystem = true;
  const system = systemAuthorities();
  if (system === undefined) return false;
  trust.extra = [...(trust.extra ?? []), system];
  return true;
}

async function makeAgent(
  url: URL,
  insecure: boolean,
  options: TransportOptions,
  extra: readonly string[],
): Promise<HttpAgent> {
  const pool = { keepAlive: true, maxSockets: MOST_SOCKETS, scheduling: 'lifo' as const };
  const proxy = proxyFor(url, options.env);
  if (url.protocol === 'http:') {
    if (proxy === undefined) return new HttpAgent(pool);
    const { HttpProxyAgent } = await import('http-proxy-agent');
    return new HttpProxyAgent(proxy, pool);
  }
  const context = await secureContextOptions(hostCertificates(url.host, options.certsDirs), extra);
  const { createSecureContext } = await import('node:tls');
  // Made once per host: with authorities of its own, a context takes tens of milliseconds.
  const secureContext =
    Object.keys(context).length === 0 ? {} : { secureContext: createSecureContext(context) };
  const tls = { ...secureContext, rejectUnauthorized: !insecure };
  if (proxy === undefined) return new HttpsAgent({ ...pool, ...tls });
  const { HttpsProxyAgent } = await import('https-proxy-agent');
  // What is given to the constructor is for the connection to the proxy, which is verified in any case.
  const agent = new HttpsProxyAgent(proxy, { ...pool, ...secureContext });
  Object.assign(agent.options, tls);
  return agent;
}

/** node-fetch up to the headers, under the time limit. Its own decoding and redirects are off. */
async function fetchHeaders(
  request: Request,
  agent: HttpAgent,
  options: TransportOptions,
): Promise<Response> {
  const { signal, headersTimeout } = options;
  signal?.throwIfAborted();
  const controller = new AbortController();
  const abort = (): void => controller.abort();
  const { method, url } = request;
  let isLate = false;
  let isAnswered = false;
  const timer = setTimeout(() => {
    isLate = true;
    abort();
  }, headersTimeout);
  // While the server takes bytes it need not answer: the time runs from the last one it took.
  const alive = (): void => {
    if (!isAnswered) timer.refresh();
  };
  signal?.addEventListener('abort', abort, { once: true });
  try {
    const response = await fetch(url.href, {
      method,
      headers: {
        ...request.headers,
        'User-Agent': options.userAgent,
        // Digests are over the bytes as they are; a registry that compresses on the way would break them.
        'Accept-Encoding': 'identity',
        ...(request.body === undefined ? {} : { 'Content-Length': String(request.body.length) }),
        ...(request.authorization === undefined ? {} : { Authorization: request.authorization }),
      },
      ...(request.form === undefined ? {} : { body: request.form }),
      ...(request.body === undefined ? {} : { body: bodyStream(request.body, alive) }),
      redirect: 'manual',
      compress: false,
      agent,
      signal: controller.signal,
    });
    response.body?.once('close', () => signal?.removeEventListener('abort', abort));
    return response;
  } catch (error) {
    signal?.removeEventListener('abort', abort);
    if (!isLate) throw error;
    const seconds = Math.round(headersTimeout / 100) / 10;
    throw new RegistryError('unavailable', `${method} ${printableUrl(url)}: no answer within ${seconds} s`, {
      retry: 'always',
    });
  } finally {
    isAnswered = true;
    clearTimeout(timer);
  }
}

function replyOf(request: Request, response: Response, options: TransportOptions): Reply {
  const { method, url } = request;
  const stream = response.body instanceof Readable ? response.body : Readable.from([]);
  const source: BodySource = { method, url, stream, stall: options.stall, signal: options.signal };
  const header = (name: string): string | undefined => response.headers.get(name) ?? undefined;
  return {
    method,
    url,
    status: response.status,
    header,
    headers: (name) => response.headers.raw()[name.toLowerCase()] ?? [],
    source,
    read: (longest) => readBounded(source, longest),
    async error() {
      const body = await readStart(source, LONGEST_ERROR_BODY);
      return replyError({ method, url, status: response.status, header, body }, Date.now());
    },
    discard: () => discard(stream),
  };
}

/** Reads on for a moment, because a connection whose body was read is used again; cuts it where that takes long. */
function discard(stream: Readable): void {
  let length = 0;
  const timer = setTimeout(() => stream.destroy(), 1000);
  timer.unref();
  stream.once('close', () => clearTimeout(timer));
  stream.once('error', () => {});
  stream.on('data', (chunk: Uint8Array) => {
    length += chunk.length;
    if (length > LONGEST_ERROR_BODY) stream.destroy();
  });
}
