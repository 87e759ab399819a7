import { type ErrorDetails, type ErrorKind, errorCode, TinyrunError } from '../errors.ts';
import { printable, printableUrl } from './printable.ts';

/** Bytes of an error body that are read at the most. */
export const LONGEST_ERROR_BODY = 64 * 1024;

/** `once`: what may have been a flipped bit on the way; a second time it is what the server has. */
export type RetryAdvice = 'never' | 'once' | 'always';

export interface RegistryErrorDetails extends ErrorDetails {
  readonly retry?: RetryAdvice;
  /** HTTP status. */
  readonly status?: number;
  /** The distribution spec's code, such as `MANIFEST_UNKNOWN`. */
  readonly registryCode?: string;
  /** Milliseconds; what the server asked for. */
  readonly retryAfter?: number;
}

/** What a registry, its token server or the way to them did wrong. */
export class RegistryError extends TinyrunError {
  override readonly name = 'RegistryError';
  readonly retry: RetryAdvice;
  readonly status?: number;
  readonly registryCode?: string;
  readonly retryAfter?: number;

  constructor(kind: ErrorKind, message: string, details: RegistryErrorDetails = {}) {
    super(kind, message, details);
    this.retry = details.retry ?? 'never';
    if (details.status !== undefined) this.status = details.status;
    if (details.registryCode !== undefined) this.registryCode = details.registryCode;
    if (details.retryAfter !== undefined) this.retryAfter = details.retryAfter;
  }
}

/** The RegistryError in a chain of causes, or undefined. */
export function registryErrorIn(error: unknown): RegistryError | undefined {
  let current = error;
  for (let depth = 0; depth < 8 && current instanceof Error; depth++) {
    if (current instanceof RegistryError) return current;
    current = current.cause;
  }
  return undefined;
}

export interface FailedReply {
  readonly method: string;
  readonly url: URL;
  readonly status: number;
  header(name: string): string | undefined;
  /** The body, bounded already. */
  readonly body: Uint8Array;
}

const KIND_OF_STATUS: Readonly<Record<number, ErrorKind>> = {
  401: 'unauthorized',
  403: 'denied',
  404: 'not_found',
  405: 'unsupported',
  408: 'unavailable',
  425: 'unavailable',
  429: 'unavailable',
};

/**
 * A status that is no success as an error: `GET https://host/v2/x/manifests/y: MANIFEST_UNKNOWN: manifest unknown`.
 * @see https://github.com/opencontainers/distribution-spec/blob/main/spec.md#error-codes
 */
export function replyError(reply: FailedReply, now: number): RegistryError {
  const { method, url, status } = reply;
  const [first] = parseErrorBody(reply.body);
  const said =
    first === undefined
      ? plainBody(reply)
      : [first.code, first.message].filter((part) => part !== '').join(': ');
  const kind = KIND_OF_STATUS[status] ?? (status >= 500 ? 'unavailable' : 'invalid');
  const retryAfter = parseRetryAfter(reply.header('retry-after'), now);
  const hint = status === 429 || retryAfter !== undefined ? waitingHint(reply, retryAfter, now) : undefined;
  return new RegistryError(
    kind,
    `${method} ${printableUrl(url)}: ${status}${said === '' ? '' : ` ${said}`}`,
    {
      status,
      retry: kind === 'unavailable' && status !== 501 && status !== 505 ? 'always' : 'never',
      ...(first === undefined ? {} : { registryCode: first.code }),
      ...(retryAfter === undefined ? {} : { retryAfter }),
      ...(hint === undefined ? {} : { hint }),
    },
  );
}

/** `{"errors": [{"code", "message"}]}`, or the token servers' `{"details"}`, `{"error", "error_description"}`. */
function parseErrorBody(body: Uint8Array): { code: string; message: string }[] {
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder().decode(body));
  } catch {
    return [];
  }
  const text = (from: unknown, field: string): string => {
    const found: unknown =
      typeof from === 'object' && from !== null
        ? Object.entries(from).find(([key]) => key === field)?.[1]
        : '';
    return typeof found === 'string' ? printable(found, 200) : '';
  };
  const list: unknown =
    typeof value === 'object' && value !== null && 'errors' in value ? value.errors : undefined;
  if (Array.isArray(list)) {
    return list.slice(0, 4).map((one) => ({ code: text(one, 'code'), message: text(one, 'message') }));
  }
  const message = text(value, 'error_description') || text(value, 'details') || text(value, 'message');
  const code = text(value, 'error') || text(value, 'code');
  return code === '' && message === '' ? [] : [{ code, message }];
}

function plainBody({ method, body, header }: FailedReply): string {
  if (method === 'HEAD') return '';
  const isText = (header('content-type') ?? '').startsWith('text/plain');
  return isText ? printable(new TextDecoder().decode(body), 200) : '';
}

/** No other client says when to come back: `Retry after 14:03:05 (in 62 s); limit 100 per 21600 s, 0 remaining`. */
function waitingHint(reply: FailedReply, retryAfter: number | undefined, now: number): string {
  const parts: string[] = [];
  if (retryAfter === undefined) parts.push('The registry does not say when to retry');
  else {
    const at = new Date(now + retryAfter).toISOString().slice(11, 19);
    parts.push(`Retry after ${at} UTC (in ${Math.ceil(retryAfter / 1000)} s)`);
  }
  const limit = rateLimit(reply.header('ratelimit-limit'));
  if (limit !== undefined) {
    const remaining = rateLimit(reply.header('ratelimit-remaining'))?.count ?? 0;
    const window = limit.window === undefined ? '' : ` per ${limit.window} s`;
    parts.push(`limit ${limit.count}${window}, ${remaining} remaining`);
  }
  const source = reply.header('docker-ratelimit-source');
  if (source !== undefined) parts.push(`counted for ${printable(source, 60)}`);
  return parts.join('; ');
}

/** Docker Hub's `100;w=21600`. */
function rateLimit(header: string | undefined): { count: number; window?: number } | undefined {
  const match = /^\s*(\d{1,9})(?:\s*;\s*w=(\d{1,9}))?/.exec(header ?? '');
  if (match === null) return undefined;
  return { count: Number(match[1]), ...(match[2] === undefined ? {} : { window: Number(match[2]) }) };
}

/**
 * Seconds or an HTTP date, as milliseconds from now.
 * @see https://www.rfc-editor.org/rfc/rfc9110#field.retry-after
 */
export function parseRetryAfter(header: string | undefined, now: number): number | undefined {
  if (header === undefined) return undefined;
  if (/^\s*\d{1,9}\s*$/.test(header)) return Number(header) * 1000;
  const at = Date.parse(header);
  return Number.isNaN(at) ? undefined : Math.max(0, at - now);
}

const SENTENCES: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset by the server',
  EPIPE: 'connection closed by the server',
  ENOTFOUND: 'no such host',
  EAI_AGAIN: 'the host name cannot be resolved at the moment',
  ETIMEDOUT: 'connection timed out',
  EHOSTUNREACH: 'no route to host',
  ENETUNREACH: 'network is unreachable',
  ERR_STREAM_PREMATURE_CLOSE: 'the answer ended early',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'the certificate is self-signed',
  SELF_SIGNED_CERT_IN_CHAIN: 'the certificate is signed by an unknown authority',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: 'the certificate is signed by an unknown authority',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'the certificate is signed by an unknown authority',
  UNABLE_TO_GET_ISSUER_CERT: 'the certificate is signed by an unknown authority',
  ERR_TLS_CERT_ALTNAME_INVALID: 'the certificate is for another host',
  CERT_HAS_EXPIRED: 'the certificate has expired',
  CERT_NOT_YET_VALID: 'the certificate is not yet valid',
};

export function isCertificateError(code: string | undefined): boolean {
  return code !== undefined && /CERT|SIGNATURE|_ISSUER_/.test(code);
}

/** What the other side says when one of the two speaks TLS and the other does not. */
export function isSchemeMismatch(code: string | undefined): boolean {
  return code !== undefined && (code === 'EPROTO' || code.startsWith('ERR_SSL') || code.startsWith('HPE_'));
}

/**
 * A request or body that broke off.
 * @param reachedBefore whether the host answered anything: only then is a refused connection a passing thing
 */
export function connectionError(
  method: string,
  url: URL,
  thrown: unknown,
  reachedBefore: boolean,
): RegistryError {
  const error = withoutUrl(thrown);
  const code = errorCode(error);
  const what = `${method} ${printableUrl(url)}`;
  if (isCertificateError(code)) {
    return new RegistryError('denied', `${what}: ${SENTENCES[code ?? ''] ?? code}`, {
      hint: `Put the authority's certificate into /etc/containers/certs.d/${url.host}/ca.crt, or set "insecure = true" for the registry in registries.conf`,
      cause: error,
    });
  }
  if (isSchemeMismatch(code) && url.protocol === 'https:') {
    return new RegistryError('unavailable', `${what}: http: server gave HTTP response to HTTPS client`, {
      hint: `To use plain HTTP, set "insecure = true" for "${url.host}" in registries.conf`,
      cause: error,
    });
  }
  const said =
    SENTENCES[code ?? ''] ?? printable(error instanceof Error ? error.message : String(error), 200);
  const isPassing = code !== 'ENOTFOUND' && (code !== 'ECONNREFUSED' || reachedBefore);
  return new RegistryError('unavailable', `${what}: ${said}`, {
    retry: isPassing ? 'always' : 'never',
    cause: error,
  });
}

/** node-fetch's errors name the URL, with what may be secret in it: a signed storage URL's query. */
function withoutUrl(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const reason = /^request to .* failed, reason: (.*)$/s.exec(error.message)?.[1];
  if (reason === undefined) return error;
  return Object.assign(new Error(reason), { code: errorCode(error) });
}
