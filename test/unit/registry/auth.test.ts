import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { describe as sentence } from '../../../src/errors.ts';
import type { Descriptor } from '../../../src/oci/image-spec.ts';
import { parseReference, type Reference } from '../../../src/registry/reference.ts';
import { openRegistry, type Registry, type RegistryOptions } from '../../../src/registry/registry.ts';
import { type FaultyRegistry, startFaultyRegistry } from '../../harness/faulty-registry.ts';

const LAYER = Buffer.from('layer');
const USER = { username: 'me', password: 'pa:ss' };

let faulty: FaultyRegistry;
let other: FaultyRegistry;
let image: { manifest: Descriptor; layer: Descriptor };
let reference: Reference;
let home: string;
const lines: string[] = [];
const opened: Registry[] = [];

beforeEach(async () => {
  faulty = await startFaultyRegistry();
  other = await startFaultyRegistry();
  image = faulty.addImage('team/app', 'v1', LAYER);
  reference = parseReference(`${faulty.host}/team/app:v1`);
  home = mkdtempSync(join(tmpdir(), 'tinyrun-auth-'));
  lines.length = 0;
});
afterEach(async () => {
  for (const registry of opened.splice(0)) registry.close();
  await Promise.all([faulty.close(), other.close()]);
  rmSync(home, { recursive: true, force: true });
});

function open(auths: Record<string, unknown> = {}, options: Partial<RegistryOptions> = {}): Registry {
  writeFileSync(join(home, 'config.json'), JSON.stringify({ auths }));
  const registry = openRegistry({
    env: {},
    dockerConfigDir: home,
    certsDirs: [],
    registriesConf: [],
    stallMs: 500,
    retry: { attempts: 3, base: 1, longest: 4, longestRetryAfter: 100 },
    log: (line) => lines.push(line),
    ...options,
  });
  opened.push(registry);
  return registry;
}

const basic = () => ({
  [faulty.host]: { auth: Buffer.from(`${USER.username}:${USER.password}`).toString('base64') },
});
const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => 'no error',
    (error: unknown) => error,
  );
const denied = () => ({
  kind: 'unauthorized',
  message: `pull access denied for ${faulty.host}/team/app, repository does not exist or may require 'tinyrun login'`,
});
/** Authorization headers and form secrets that a server got. */
const secretsAt = (server: FaultyRegistry) =>
  server.seen.flatMap(({ headers, body }) => [headers.authorization, body]).filter((text) => text);

async function read(registry: Registry, descriptor: Descriptor): Promise<number> {
  let length = 0;
  for await (const chunk of (await registry.blob(reference, descriptor, 0)).body) length += chunk.length;
  return length;
}

describe('Bearer', () => {
  it('fetches one token and keeps it', async () => {
    faulty.auth = { type: 'bearer' };
    const registry = open();
    await registry.manifest(reference);
    await registry.manifest(reference);
    expect(await read(registry, image.layer)).toBe(LAYER.length);
    expect(faulty.count('GET /token')).toBe(1);
    const token = faulty.seen.find(({ path }) => path.startsWith('/token'));
    expect(token?.path).toBe('/token?service=test&scope=repository%3Ateam%2Fapp%3Apull');
    expect(token?.headers.authorization).toBeUndefined();
  });

  it('sends the password to the token server only', async () => {
    faulty.auth = { type: 'bearer', ...USER };
    await open(basic()).manifest(reference);
    const withPassword = faulty.seen.filter(({ headers }) => headers.authorization?.startsWith('Basic'));
    expect(withPassword.map(({ path }) => path)).toEqual([
      '/token?service=test&scope=repository%3Ateam%2Fapp%3Apull&account=me',
    ]);
  });

  it('changes an identity token by POST', async () => {
    faulty.auth = { type: 'bearer', refreshToken: 'idt' };
    await open({ [faulty.host]: { identitytoken: 'idt' } }).manifest(reference);
    const post = faulty.seen.find(({ method }) => method === 'POST');
    expect(Object.fromEntries(new URLSearchParams(post?.body))).toEqual({
      grant_type: 'refresh_token',
      refresh_token: 'idt',
      service: 'test',
      client_id: 'tinyrun',
      scope: 'repository:team/app:pull',
    });
  });

  it('falls back to POST with the password where there is no GET', async () => {
    faulty.auth = { type: 'bearer' };
    faulty.faults = [{ on: 'GET /token', fault: { type: 'status', status: 405 } }];
    await open(basic()).manifest(reference);
    expect(
      Object.fromEntries(new URLSearchParams(faulty.seen.find(({ method }) => method === 'POST')?.body)),
    ).toMatchObject({ grant_type: 'password', ...USER });
  });

  it('gets a new token when the old one is refused or has expired', async () => {
    faulty.auth = { type: 'bearer' };
    const registry = open();
    await registry.manifest(reference);
    faulty.revokeTokens();
    await registry.manifest(reference);
    expect(faulty.count('GET /token')).toBe(2);

    faulty.auth = { type: 'bearer', expiresIn: 0.01 };
    const second = open();
    await second.manifest(reference);
    await new Promise((resolve) => setTimeout(resolve, 20));
    const before = faulty.count('/manifests/');
    await second.manifest(reference);
    // The expired token was not even tried: one request without, one with the new.
    expect(faulty.count('/manifests/') - before).toBe(2);
    expect(faulty.seen.at(-3)?.headers.authorization).toBeUndefined();
  });

  it('shares one token among requests that meet the challenge at once', async () => {
    faulty.auth = { type: 'bearer' };
    const registry = open();
    await Promise.all(Array.from({ length: 6 }, () => read(registry, image.layer)));
    expect(faulty.count('GET /token')).toBe(1);
  });

  it('ends a loop of 401 after one token', async () => {
    faulty.auth = { type: 'bearer', never: true };
    expect(await failure(open().manifest(reference))).toMatchObject(denied());
    expect(faulty.count('/manifests/')).toBe(2);
    expect(faulty.count('/token')).toBe(1);
  });

  it('says that access is denied for a wrong password, with the reason and without the password', async () => {
    faulty.auth = { type: 'bearer', username: 'me', password: 'right' };
    const error = await failure(open(basic()).manifest(reference));
    expect(error).toMatchObject(denied());
    expect(sentence(error)).toContain('401 incorrect username or password');
    expect(`${sentence(error)} ${lines.join(' ')}`).not.toMatch(/pa:ss|cGE6c3M|bWU6/);
  });

  it.each([429, 500, 503])('backs off at %i of the token server', async (status) => {
    faulty.auth = { type: 'bearer' };
    faulty.faults = [
      { on: '/token', fault: { type: 'status', status, headers: { 'retry-after': '0' } }, times: 1 },
    ];
    await open().manifest(reference);
    expect(faulty.count('/token')).toBe(2);
  });

  it.each([
    ['a stall', { type: 'stall', after: 2 } as const, 'unavailable'],
    ['an endless answer', { type: 'endless' } as const, 'invalid'],
    ['no JSON', { type: 'replace', body: Buffer.from('hello') } as const, 'invalid'],
    ['no token', { type: 'replace', body: Buffer.from('{}') } as const, 'invalid'],
    [
      'a token with a line break',
      { type: 'replace', body: Buffer.from('{"token":"a\\r\\nX: y"}') } as const,
      'invalid',
    ],
    ['a token that is a number', { type: 'replace', body: Buffer.from('{"token":5}') } as const, 'invalid'],
  ])('ends with a clear error at %s', async (_name, fault, kind) => {
    faulty.auth = { type: 'bearer' };
    faulty.faults = [{ on: '/token', fault }];
    expect(await failure(open().manifest(reference))).toMatchObject({ kind });
  });

  it.each([
    ['http elsewhere', 'http://auth.example.com/token', 'is not encrypted'],
    ['another scheme', 'ftp://127.0.0.1/token', 'is not http'],
    ['a password in it', 'http://a:b@127.0.0.1/token', 'has a password in its address'],
    ['nonsense', 'http://', 'is no address'],
  ])('does not log in at a realm with %s', async (_name, realm, message) => {
    faulty.auth = { type: 'bearer', realm, ...USER };
    const error = await failure(open(basic()).manifest(reference));
    expect(sentence(error)).toContain(message);
  });
});

describe('Basic', () => {
  it('answers with the password and sends it along from then on', async () => {
    faulty.auth = { type: 'basic', ...USER };
    const registry = open(basic());
    await registry.manifest(reference);
    await read(registry, image.layer);
    expect(faulty.seen.filter(({ headers }) => headers.authorization !== undefined)).toHaveLength(2);
  });

  it('is denied without credentials, after one request', async () => {
    faulty.auth = { type: 'basic', ...USER };
    expect(await failure(open().manifest(reference))).toMatchObject(denied());
    expect(faulty.count('/manifests/')).toBe(1);
  });

  it('is taken where several challenges are offered and only it can be answered', async () => {
    faulty.auth = { type: 'basic', ...USER, challenge: ['Negotiate', 'Digest realm="x", Basic realm="y"'] };
    await open(basic()).manifest(reference);
  });

  it('ends a loop of 401 after one answer', async () => {
    faulty.auth = { type: 'basic', ...USER, never: true };
    expect(await failure(open(basic()).manifest(reference))).toMatchObject(denied());
    expect(faulty.count('/manifests/')).toBe(2);
  });
});

describe('redirects', () => {
  it('are followed to other hosts without Authorization, whose challenges are not answered', async () => {
    faulty.auth = { type: 'basic', ...USER };
    other.addBlob(LAYER);
    const registry = open({ ...basic(), [other.host]: { username: 'x', password: 'y' } });
    await registry.manifest(reference);
    faulty.faults = [
      { on: '/blobs/', fault: { type: 'redirect', to: `${other.url}/v2/x/blobs/${image.layer.digest}` } },
    ];
    expect(await read(registry, image.layer)).toBe(LAYER.length);
    other.auth = { type: 'bearer', ...USER };
    await expect(read(registry, image.layer)).rejects.toMatchObject({ kind: 'unauthorized' });
    expect(other.count('/token')).toBe(0);
    expect(secretsAt(other)).toEqual([]);
  });

  it('do not bring the credentials back once they were elsewhere', async () => {
    faulty.auth = { type: 'basic', ...USER };
    const registry = open(basic());
    await registry.manifest(reference);
    const seen = faulty.seen.length;
    other.faults = [{ on: '/', fault: { type: 'redirect', to: `${faulty.url}/v2/evil/blobs/x` } }];
    faulty.faults = [{ on: 'team/app/blobs', fault: { type: 'redirect', to: other.url } }];
    await failure(read(registry, image.layer));
    expect(
      faulty.seen
        .slice(seen)
        .map(({ path, headers }) => [path.includes('evil'), headers.authorization !== undefined]),
    ).toContainEqual([true, false]);
  });

  it('keep it on the same host', async () => {
    faulty.auth = { type: 'basic', ...USER };
    faulty.faults = [
      {
        on: 'manifests/v1',
        fault: { type: 'redirect', to: `/v2/team/app/manifests/${image.manifest.digest}`, status: 301 },
      },
    ];
    const registry = open(basic());
    expect((await registry.manifest(reference)).digest).toBe(image.manifest.digest);
  });

  it.each([
    ['in a circle', () => '/v2/team/app/manifests/v1', 'redirects in a circle'],
    ['to another scheme', () => 'file:///etc/passwd', 'which is no usable address'],
    ['with a password', () => 'http://a:b@127.0.0.1/', 'which is no usable address'],
    ['nowhere', () => 'http://', 'which is no usable address'],
  ])('%s are refused', async (_name, to, message) => {
    faulty.faults = [{ on: '/manifests/', fault: { type: 'redirect', to: to() } }];
    const error = await failure(open().manifest(reference));
    expect(error).toMatchObject({ kind: 'invalid', message: expect.stringContaining(message) });
  });

  it('without end are refused', async () => {
    for (let n = 0; n < 20; n++) {
      faulty.faults.push({
        on: n === 0 ? 'manifests/v1' : `/hop/${n}/`,
        fault: { type: 'redirect', to: `/hop/${n + 1}/` },
      });
    }
    const error = await failure(open().manifest(reference));
    expect(error).toMatchObject({ message: expect.stringContaining('redirects more than 10 times') });
    expect(faulty.count('/hop/')).toBe(10);
  });
});

describe('foreign layers', () => {
  it('come from their own addresses without credentials (CVE-2020-15157)', async () => {
    faulty.auth = { type: 'basic', ...USER };
    other.addBlob(LAYER);
    const path = `/v2/x/blobs/${image.layer.digest}`;
    const foreign: Descriptor = {
      ...image.layer,
      mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
      urls: ['ftp://x/', `${other.url}${path}`],
    };
    const registry = open({ ...basic(), [other.host]: { username: 'x', password: 'y' } });
    await registry.manifest(reference);
    expect(await read(registry, foreign)).toBe(LAYER.length);
    expect(other.count(path)).toBe(1);
    other.auth = { type: 'bearer', ...USER };
    // Not answered; the registry has it too.
    expect(await read(registry, foreign)).toBe(LAYER.length);
    expect(other.count('/token')).toBe(0);
    expect(secretsAt(other)).toEqual([]);
  });
});

describe('mirrors', () => {
  const conf = () => {
    const path = join(home, 'registries.conf');
    writeFileSync(
      path,
      `[[registry]]\nprefix = "r.example.com"\nlocation = "${faulty.host}"\n[[registry.mirror]]\nlocation = "${other.host}/hub"\n`,
    );
    return { registriesConf: [path] };
  };

  it('are asked first, with credentials of their own', async () => {
    other.addImage('hub/team/app', 'v1', LAYER);
    other.auth = { type: 'basic', ...USER };
    const named = parseReference('r.example.com/team/app:v1');
    const registry = open(
      { [other.host]: USER, [faulty.host]: { username: 'never', password: 'never' } },
      conf(),
    );
    await registry.manifest(named);
    expect(faulty.seen).toHaveLength(0);
    expect(secretsAt(other)).toHaveLength(1);
  });

  it.each(['status', 'reset', 'corrupt'] as const)(
    'are passed over at %s, and left alone once they are dead',
    async (type) => {
      other.faults = [{ on: '/v2/', fault: type === 'status' ? { type, status: 503 } : { type } }];
      if (type === 'corrupt') other.addImage('hub/team/app', 'v1', LAYER);
      const named = parseReference('r.example.com/team/app:v1');
      const registry = open({}, conf());
      expect((await registry.manifest(named)).digest).toBe(image.manifest.digest);
      const seen = other.seen.length;
      await registry.manifest(named);
      if (type !== 'corrupt') expect(other.seen.length).toBe(seen);
    },
  );
});
