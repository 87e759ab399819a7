import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, request as httpRequest, type Server } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseReference, type Reference } from '../../../src/registry/reference.ts';
import { openRegistry, type Registry, type RegistryOptions } from '../../../src/registry/registry.ts';
import { hostCertificates } from '../../../src/registry/tls.ts';
import { AUTHORITY, SERVER_CERT, SERVER_KEY } from '../../harness/certificates.ts';
import { type FaultyRegistry, startFaultyRegistry } from '../../harness/faulty-registry.ts';

let home: string;
let plain: FaultyRegistry;
let secure: Server;
let host: string;
let reference: Reference;
/** Common names of the clients that the TLS server saw. */
const clients: string[] = [];
const opened: Registry[] = [];

/** TLS in front of the plain registry, as a reverse proxy has it. */
beforeEach(async () => {
  home = mkdtempSync(join(tmpdir(), 'tinyrun-tls-'));
  plain = await startFaultyRegistry();
  plain.addImage('app', 'v1', Buffer.from('layer'));
  clients.length = 0;
  const tls = {
    cert: SERVER_CERT,
    key: SERVER_KEY,
    ca: AUTHORITY,
    requestCert: true,
    rejectUnauthorized: false,
  };
  secure = createHttpsServer(tls, (request, response) => {
    clients.push(String((request.socket as TLSSocket).getPeerCertificate().subject?.CN ?? ''));
    const inner = httpRequest(
      plain.url + request.url,
      { method: request.method, headers: request.headers },
      (answer) => {
        response.writeHead(answer.statusCode ?? 500, answer.headers);
        answer.pipe(response);
      },
    );
    request.pipe(inner);
  });
  await new Promise<void>((resolve) => secure.listen(0, '127.0.0.1', resolve));
  host = `127.0.0.1:${(secure.address() as AddressInfo).port}`;
  reference = parseReference(`${host}/app:v1`);
});
afterEach(async () => {
  for (const registry of opened.splice(0)) registry.close();
  secure.closeAllConnections();
  secure.close();
  await plain.close();
  rmSync(home, { recursive: true, force: true });
});

function open(options: Partial<RegistryOptions> = {}): Registry {
  const registry = openRegistry({
    env: {},
    dockerConfigDir: home,
    registriesConf: [],
    certsDirs: [join(home, 'certs.d')],
    stallMs: 2000,
    retry: { attempts: 2, base: 1 },
    ...options,
  });
  opened.push(registry);
  return registry;
}

function certificate(name: string, pem: string): void {
  const directory = join(home, 'certs.d', host);
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, name), pem);
}

const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => 'no error',
    (error: unknown) => error,
  );

describe('a registry with a certificate of an authority of its own', () => {
  it('is refused, on loopback too (CVE-2025-6032)', async () => {
    expect(await failure(open().manifest(reference))).toMatchObject({
      kind: 'denied',
      message: expect.stringContaining('the certificate is signed by an unknown authority'),
      hint: expect.stringContaining(`/etc/containers/certs.d/${host}/ca.crt`),
    });
    expect(plain.seen).toHaveLength(0);
  });

  it('is trusted by certs.d', async () => {
    certificate('ca.crt', AUTHORITY);
    expect((await open().manifest(reference)).bytes.length).toBeGreaterThan(0);
  });

  it.each(['TINYRUN_EXTRA_CA_CERTS', 'NODE_EXTRA_CA_CERTS', 'SSL_CERT_FILE'])(
    'is trusted by %s',
    async (name) => {
      writeFileSync(join(home, 'extra.pem'), AUTHORITY);
      await open({ env: { [name]: join(home, 'extra.pem') } }).manifest(reference);
    },
  );

  it('is taken as it is where the user says so', async () => {
    await open({ insecure: true }).manifest(reference);
    const path = join(home, 'registries.conf');
    writeFileSync(path, `[[registry]]\nlocation = "${host}"\ninsecure = true\n`);
    await open({ registriesConf: [path] }).manifest(reference);
  });

  it('is shown the client certificate', async () => {
    certificate('ca.crt', AUTHORITY);
    certificate('me.cert', SERVER_CERT);
    certificate('me.key', SERVER_KEY);
    await open().manifest(reference);
    expect(new Set(clients)).toEqual(new Set(['localhost']));
  });
});

describe('hostCertificates()', () => {
  it('is empty where there is no directory', () => {
    expect(hostCertificates(host, [join(home, 'certs.d')])).toEqual({ authorities: [] });
  });

  it('takes authorities of all directories and the first client certificate', () => {
    for (const [at, name] of [
      ['a', 'x'],
      ['b', 'y'],
    ] as const) {
      mkdirSync(join(home, at, 'r.io'), { recursive: true });
      for (const file of [`${name}.crt`, `${name}.cert`, `${name}.key`])
        writeFileSync(join(home, at, 'r.io', file), file);
    }
    expect(hostCertificates('r.io', [join(home, 'a'), join(home, 'b')])).toEqual({
      authorities: ['x.crt', 'y.crt'],
      client: { cert: 'x.cert', key: 'x.key' },
    });
  });

  it('names what is missing', () => {
    certificate('me.cert', SERVER_CERT);
    expect(() => hostCertificates(host, [join(home, 'certs.d')])).toThrow(
      'missing key me.key for client certificate me.cert',
    );
    rmSync(join(home, 'certs.d', host, 'me.cert'));
    certificate('me.key', SERVER_KEY);
    expect(() => hostCertificates(host, [join(home, 'certs.d')])).toThrow(
      'missing client certificate me.cert for key me.key',
    );
  });
});

describe('proxies', () => {
  let proxy: Server;
  let url: string;
  const through: string[] = [];
  beforeEach(async () => {
    through.length = 0;
    proxy = createServer((request, response) => {
      through.push(`${request.method} ${request.url} ${request.headers['proxy-authorization'] ?? ''}`.trim());
      const path = new URL(request.url ?? '').pathname;
      const inner = httpRequest(plain.url + path, { headers: request.headers }, (answer) => {
        response.writeHead(answer.statusCode ?? 500, answer.headers);
        answer.pipe(response);
      });
      inner.end();
    });
    proxy.on('connect', (request, socket) => {
      through.push(`CONNECT ${request.url}`);
      const inner = connect(Number(new URL(`http://${host}`).port), '127.0.0.1', () => {
        socket.write('HTTP/1.1 200 OK\r\n\r\n');
        inner.pipe(socket);
        socket.pipe(inner);
      });
      socket.on('error', () => inner.destroy());
      inner.on('error', () => socket.destroy());
    });
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
    url = `127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  });
  afterEach(() => {
    proxy.closeAllConnections();
    proxy.close();
  });

  it('carry https by CONNECT, the certificate verified behind them', async () => {
    const named = parseReference('localhost.test/app:v1');
    writeFileSync(join(home, 'extra.pem'), AUTHORITY);
    const env = { https_proxy: `http://${url}`, SSL_CERT_FILE: join(home, 'extra.pem') };
    const error = await failure(open({ env }).manifest(named));
    expect(error).toMatchObject({
      kind: 'denied',
      message: expect.stringContaining('the certificate is for another host'),
    });
    expect(through[0]).toBe('CONNECT localhost.test:443');
    expect((await open({ env, insecure: true }).manifest(named)).bytes.length).toBeGreaterThan(0);
  });

  it('carry plain http for an insecure registry, with their password', async () => {
    const named = parseReference('plain.test:80/app:v1');
    const path = join(home, 'registries.conf');
    writeFileSync(path, '[[registry]]\nlocation = "plain.test:80"\ninsecure = true\n');
    // No proxy for https: where TLS cannot get through, plain http is tried.
    const env = { HTTP_PROXY: `http://me:secret@${url}`, HTTPS_PROXY: 'http://127.0.0.1:1' };
    expect((await open({ env, registriesConf: [path] }).manifest(named)).bytes.length).toBeGreaterThan(0);
    const password = `Basic ${Buffer.from('me:secret').toString('base64')}`;
    expect(through).toContain(`GET http://plain.test/v2/app/manifests/v1 ${password}`);
  });
});
