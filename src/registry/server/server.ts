import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { TinyrunError } from '../../errors.ts';
import { refusal, send } from './answer.ts';
import { layoutShelf, layoutsShelf } from './layout-shelf.ts';
import { answer } from './routes.ts';
import type { Shelf } from './shelf.ts';

export interface ServeOptions {
  /** Repository → OCI layout directory; each layout's reference names are its tags. */
  readonly layouts?: Readonly<Record<string, string>>;
  /** One OCI layout directory whose reference names are `repository:tag`. */
  readonly layout?: string;
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** Default 0: any free one. */
  readonly port?: number;
}

export interface LayoutServer {
  /** Such as `http://127.0.0.1:5000`. */
  readonly url: string;
  /** `host:port`, as it stands in a reference. */
  readonly address: string;
  close(): Promise<void>;
}

/** Whether a request may go on, by its header `Authorization`. */
export type Guard = (authorization: string | undefined) => Promise<boolean>;

export interface RegistryServerOptions extends Pick<ServeOptions, 'host' | 'port'> {
  readonly shelf: Shelf;
  /** PEM. */
  readonly tls?: { readonly cert: string | Buffer; readonly key: string | Buffer };
  /** Default: everybody is welcome. */
  readonly guard?: Guard;
  /** Told what went wrong here, of which clients learn only that it did. */
  readonly onError?: (error: unknown) => void;
}

/** Milliseconds without a byte in either direction. */
const SILENCE = 120_000;
const MOST_CONNECTIONS = 1000;

/**
 * A read-only OCI distribution registry over OCI image layouts. What is added to the layouts is there at once.
 * @throws TinyrunError `conflict` where the port is taken
 * @see https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pull
 */
export async function serveLayout({ layouts, layout, ...where }: ServeOptions): Promise<LayoutServer> {
  const shelf = layout === undefined ? layoutsShelf(layouts ?? {}) : layoutShelf(layout);
  return serveShelf({ ...where, shelf });
}

/**
 * A registry server.
 * @throws TinyrunError `conflict` where the port is taken, `invalid` for a certificate that is none
 * @see https://github.com/opencontainers/distribution-spec/blob/main/spec.md
 */
export async function serveShelf(options: RegistryServerOptions): Promise<LayoutServer> {
  const host = options.host ?? '127.0.0.1';
  const server = await serverFor(options, (request, response) => void serve(options, request, response));
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) =>
      reject(new TinyrunError('conflict', `Cannot listen on "${host}:${options.port ?? 0}"`, { cause })),
    );
    server.listen(options.port ?? 0, host, resolve);
  });
  const { port } = server.address() as AddressInfo;
  const address = `${host.includes(':') ? `[${host}]` : host}:${port}`;
  return {
    url: `${options.tls === undefined ? 'http' : 'https'}://${address}`,
    address,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function serverFor(options: RegistryServerOptions, listener: RequestListener): Promise<Server> {
  // An upload takes as long as it takes; what is bounded is the silence.
  const limits = { requestTimeout: 0, headersTimeout: 30_000 };
  const { tls } = options;
  let server: Server;
  if (tls === undefined) {
    server = (await import('node:http')).createServer(limits, listener);
  } else {
    const { createServer } = await import('node:https');
    try {
      server = createServer({ ...limits, ...tls, minVersion: 'TLSv1.2' }, listener);
    } catch (cause) {
      throw new TinyrunError('invalid', 'Cannot use the certificate and its key', { cause });
    }
  }
  server.setTimeout(SILENCE);
  server.maxConnections = MOST_CONNECTIONS;
  return server;
}

async function serve(
  { shelf, guard, onError }: RegistryServerOptions,
  request: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const isWelcome =
    guard === undefined ||
    (await guard(request.headers.authorization).catch((error: unknown) => {
      onError?.(error);
      return false;
    }));
  if (isWelcome) {
    send(request, response, await answer(shelf, request, onError));
    return drain(request);
  }
  const refused = refusal('UNAUTHORIZED', 'authentication required');
  send(request, response, {
    ...refused,
    headers: { ...refused.headers, 'WWW-Authenticate': 'Basic realm="tinyrun"' },
  });
  drain(request);
}

/** Bytes of a refused body that are read and thrown away, so that the client comes to read the answer. */
const LONGEST_REST = 64 << 20;

function drain(request: IncomingMessage): void {
  if (request.complete || request.destroyed) return;
  let left = LONGEST_REST;
  request.on('data', (chunk: Buffer) => {
    left -= chunk.length;
    if (left < 0) request.destroy();
  });
  request.on('error', () => {});
  request.resume();
}
