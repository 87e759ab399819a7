import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

/** A registry behind a password: passes on what is authorized. */
export interface AuthProxy {
  /** `127.0.0.1:port` */
  readonly address: string;
  /** The scopes that tokens were asked for. */
  readonly scopes: string[];
  close(): Promise<void>;
}

export interface AuthProxyOptions {
  readonly username: string;
  readonly password: string;
  /** `bearer`: with a token server at `/token`. */
  readonly scheme: 'basic' | 'bearer';
}

/** @param upstream `127.0.0.1:port` of a registry that anybody may use */
export async function startAuthProxy(upstream: string, options: AuthProxyOptions): Promise<AuthProxy> {
  const scopes: string[] = [];
  const basic = `Basic ${Buffer.from(`${options.username}:${options.password}`).toString('base64')}`;
  const server = createServer((incoming, response) => {
    const url = new URL(incoming.url ?? '/', `http://${address()}`);
    const { authorization } = incoming.headers;
    if (options.scheme === 'bearer' && url.pathname === '/token') {
      scopes.push(...url.searchParams.getAll('scope'));
      const isRight = authorization === basic;
      answer(response, isRight ? 200 : 401, isRight ? { token: 'token-of-the-test' } : { details: 'no' });
      return;
    }
    if (authorization === (options.scheme === 'basic' ? basic : 'Bearer token-of-the-test')) {
      pass(incoming, response, upstream);
      return;
    }
    const challenge =
      options.scheme === 'basic'
        ? 'Basic realm="test"'
        : `Bearer realm="http://${address()}/token",service="test"`;
    answer(
      response,
      401,
      { errors: [{ code: 'UNAUTHORIZED', message: 'authentication required' }] },
      challenge,
    );
  });
  const address = (): string => `127.0.0.1:${(server.address() as AddressInfo).port}`;
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    address: address(),
    scopes,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

function answer(response: ServerResponse, status: number, body: unknown, challenge?: string): void {
  response.writeHead(status, {
    'content-type': 'application/json',
    ...(challenge === undefined ? {} : { 'www-authenticate': challenge }),
  });
  response.end(JSON.stringify(body));
}

function pass(incoming: IncomingMessage, response: ServerResponse, upstream: string): void {
  const { authorization: _, ...headers } = incoming.headers;
  const onward = request(
    `http://${upstream}${incoming.url}`,
    { method: incoming.method ?? 'GET', headers },
    (answered) => {
      response.writeHead(answered.statusCode ?? 502, answered.headers);
      answered.pipe(response);
    },
  );
  onward.on('error', () => response.destroy());
  incoming.pipe(onward);
}
