import { randomBytes } from 'node:crypto';
import { createServer } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { describe as sentence } from '../../../src/errors.ts';
import type { Descriptor } from '../../../src/oci/image-spec.ts';
import { parseReference, type Reference } from '../../../src/registry/reference.ts';
import { openRegistry, type Registry, type RegistryOptions } from '../../../src/registry/registry.ts';
import { type Fault, type FaultyRegistry, startFaultyRegistry } from '../../harness/faulty-registry.ts';

const LAYER = randomBytes(300_000);
const NOWHERE = '/nonexistent';

let faulty: FaultyRegistry;
let image: { manifest: Descriptor; config: Descriptor; layer: Descriptor };
let reference: Reference;
const opened: Registry[] = [];

beforeEach(async () => {
  faulty = await startFaultyRegistry();
  image = faulty.addImage('app', 'v1', LAYER);
  reference = parseReference(`${faulty.host}/app:v1`);
});
afterEach(async () => {
  for (const registry of opened.splice(0)) registry.close();
  await faulty.close();
});

function open(options: Partial<RegistryOptions> = {}): Registry {
  const registry = openRegistry({
    env: {},
    dockerConfigDir: NOWHERE,
    certsDirs: [],
    registriesConf: [],
    stallMs: 150,
    retry: { attempts: 3, base: 1, longest: 4, longestRetryAfter: 100 },
    ...options,
  });
  opened.push(registry);
  return registry;
}

/** The blob as the pull code gets it: attempts that go on where the last one ended. */
async function download(
  registry: Registry,
  descriptor: Descriptor,
): Promise<{ bytes: Buffer; attempts: number }> {
  const bytes = Buffer.alloc(descriptor.size);
  let at = 0;
  let attempts = 0;
  await registry.retrying(
    async () => {
      attempts += 1;
      const { start, body } = await registry.blob(reference, descriptor, at);
      at = start;
      for await (const chunk of body) {
        bytes.set(chunk, at);
        at += chunk.length;
      }
    },
    { progress: () => at },
  );
  expect(at).toBe(descriptor.size);
  return { bytes, attempts };
}

const failure = (promise: Promise<unknown>) =>
  promise.then(
    () => 'no error',
    (error: unknown) => error,
  );

describe('manifest()', () => {
  it('fetches by tag and by digest, and verifies', async () => {
    const registry = open();
    const byTag = await registry.manifest(reference);
    expect(byTag).toMatchObject({ digest: image.manifest.digest, mediaType: image.manifest.mediaType });
    const byDigest = await registry.manifest({ ...reference, digest: image.manifest.digest });
    expect(byDigest).toEqual(byTag);
    expect(await registry.manifestByDigest(reference, image.manifest)).toEqual(byTag);
  });

  it('says what Docker says of a manifest that is not there', async () => {
    const error = await failure(open().manifest({ ...reference, tag: 'nope' }));
    expect(error).toMatchObject({
      kind: 'not_found',
      message: `manifest for ${faulty.host}/app:nope not found`,
    });
    expect(sentence(error)).toContain(
      `GET ${faulty.url}/v2/app/manifests/nope: 404 MANIFEST_UNKNOWN: not here`,
    );
  });

  it('sends its name and asks for the bytes as they are', async () => {
    await open({ version: '1.2.3' }).manifest(reference);
    const { headers } = faulty.seen.at(-1) ?? {};
    expect(headers).toMatchObject({ 'user-agent': 'tinyrun/1.2.3', 'accept-encoding': 'identity' });
    expect(headers?.accept).toContain('application/vnd.oci.image.index.v1+json');
  });

  const status = (code: number, headers = {}): Fault => ({ type: 'status', status: code, headers });
  it.each<[string, Fault]>([
    ['500', status(500)],
    ['502', status(502)],
    ['503 with Retry-After', status(503, { 'retry-after': '0' })],
    ['408', status(408)],
    ['425', status(425)],
    ['429 with Retry-After', status(429, { 'retry-after': '0' })],
    ['a reset', { type: 'reset' }],
    ['no answer', { type: 'stall', after: -1 }],
    ['a stalled body', { type: 'stall', after: 10 }],
    ['a truncated body', { type: 'truncate', after: 10 }],
    ['a chunked body that ends early', { type: 'chunked-cut', after: 10 }],
    ['a body without length that ends early', { type: 'close-cut', after: 10 }],
    ['a corrupt body', { type: 'corrupt' }],
  ])('survives %s, once', async (_name, fault) => {
    faulty.faults = [{ on: '/manifests/', fault, times: 1 }];
    expect((await open().manifest(reference)).digest).toBe(image.manifest.digest);
  });

  it.each<[string, Fault, string, string]>([
    ['500', status(500), 'unavailable', ': 500'],
    ['a reset', { type: 'reset' }, 'unavailable', 'connection reset by the server'],
    ['no answer', { type: 'stall', after: -1 }, 'unavailable', 'no answer within 0.2 s'],
    ['a stalled body', { type: 'stall', after: 10 }, 'unavailable', 'the server sent nothing for 0.2 s'],
    ['a truncated body', { type: 'truncate', after: 10 }, 'unavailable', 'connection reset by the server'],
    ['a chunked body that ends early', { type: 'chunked-cut', after: 10 }, 'unavailable', ': '],
    ['a body without length that ends early', { type: 'close-cut', after: 10 }, 'invalid', 'has digest'],
    ['an endless body', { type: 'endless' }, 'invalid', 'too long, expected 4194304 bytes at most'],
    ['a corrupt body', { type: 'corrupt' }, 'invalid', 'the content has digest'],
    [
      'a web page',
      { type: 'replace', body: Buffer.from('<html>'), contentType: 'text/html' },
      'invalid',
      'has digest',
    ],
    [
      'an index that is called a manifest',
      { type: 'headers', headers: { 'content-type': 'application/vnd.oci.image.index.v1+json' } },
      'invalid',
      'was announced as',
    ],
    [
      'schema 1',
      {
        type: 'headers',
        headers: { 'content-type': 'application/vnd.docker.distribution.manifest.v1+prettyjws' },
      },
      'unsupported',
      'schema 1',
    ],
    [
      'a lie in Docker-Content-Digest',
      { type: 'headers', headers: { 'docker-content-digest': `sha256:${'0'.repeat(64)}` } },
      'invalid',
      `expected "sha256:${'0'.repeat(64)}"`,
    ],
    ['403', status(403), 'unauthorized', 'pull access denied for'],
    ['400', status(400), 'invalid', ': 400'],
  ])('ends with one clear error at %s, always', async (_name, fault, kind, message) => {
    faulty.faults = [{ on: '/manifests/', fault }];
    const error = await failure(open().manifest(reference));
    expect(error).toMatchObject({ kind });
    expect(sentence(error)).toContain(message);
    expect(sentence(error)).not.toMatch(/\n/);
  });

  it('does not take another manifest for the one of a digest', async () => {
    const other = faulty.addImage('app', 'v2', randomBytes(10)).manifest;
    const { bytes } = await open().manifest({ ...reference, digest: other.digest });
    faulty.faults = [{ on: image.manifest.digest, fault: { type: 'replace', body: bytes } }];
    const exact = { ...reference, digest: image.manifest.digest };
    expect(await failure(open().manifest(exact))).toMatchObject({
      kind: 'invalid',
      message: expect.stringContaining('has digest'),
    });
  });

  it("refuses a manifest whose size is not its descriptor's", async () => {
    const wrong = { ...image.manifest, size: image.manifest.size + 1 };
    const error = await failure(open().manifestByDigest(reference, wrong));
    expect(error).toMatchObject({ kind: 'invalid', message: expect.stringContaining('the size is wrong') });
  });

  it('does not wait for a registry that asks for hours, and says when to come back', async () => {
    faulty.faults = [
      {
        on: '/manifests/',
        fault: status(429, {
          'retry-after': '7200',
          'ratelimit-limit': '100;w=21600',
          'ratelimit-remaining': '0;w=21600',
        }),
      },
    ];
    const error = await failure(open().manifest(reference));
    expect(error).toMatchObject({
      kind: 'unavailable',
      hint: expect.stringMatching(/^Retry after .* \(in 7200 s\); limit 100 per 21600 s, 0 remaining$/),
    });
    expect(faulty.count('/manifests/')).toBe(1);
  });

  it('says at once that nobody listens', async () => {
    const server = createServer();
    const port = await new Promise<number>((resolve) => {
      server.listen(0, '127.0.0.1', () => resolve((server.address() as { port: number }).port));
    });
    await new Promise((resolve) => server.close(resolve));
    const error = await failure(open().manifest(parseReference(`127.0.0.1:${port}/app`)));
    expect(error).toMatchObject({
      kind: 'unavailable',
      message: expect.stringContaining('connection refused'),
    });
  });

  it('refuses a port that is none', async () => {
    const error = await failure(open().manifest(parseReference('localhost:99999/app')));
    expect(error).toMatchObject({
      kind: 'invalid',
      message: 'Cannot use registry "localhost:99999": it is no host with a port',
    });
  });

  it('ends with the reason of the signal', async () => {
    const controller = new AbortController();
    faulty.faults = [{ on: '/manifests/', fault: { type: 'stall', after: -1 } }];
    setTimeout(() => controller.abort(new Error('enough')), 20);
    expect(
      await failure(open({ stallMs: 10_000, signal: controller.signal }).manifest(reference)),
    ).toMatchObject({ message: 'enough' });
  });
});

describe('headManifest()', () => {
  it('tells the digest', async () => {
    const { digest, mediaType, size } = image.manifest;
    expect(await open().headManifest(reference)).toEqual({ digest, mediaType, size });
  });

  it.each<[string, Fault]>([
    ['404', { type: 'status', status: 404 }],
    ['405', { type: 'status', status: 405 }],
    ['no digest', { type: 'headers', headers: { 'docker-content-digest': undefined } }],
    ['a digest that is a path', { type: 'headers', headers: { 'docker-content-digest': 'sha256:../../x' } }],
  ])('is undefined at %s', async (_name, fault) => {
    faulty.faults = [{ on: 'HEAD', fault }];
    expect(await open().headManifest(reference)).toBeUndefined();
  });
});

describe('blob()', () => {
  it('gives exactly the blob', async () => {
    const { bytes, attempts } = await download(open(), image.layer);
    expect(bytes.equals(LAYER)).toBe(true);
    expect(attempts).toBe(1);
  });

  it('goes on at an offset', async () => {
    const { start, body } = await open().blob(reference, image.layer, 299_990);
    const chunks: Uint8Array[] = [];
    for await (const chunk of body) chunks.push(chunk);
    expect(start).toBe(299_990);
    expect(Buffer.concat(chunks).equals(LAYER.subarray(299_990))).toBe(true);
    expect(faulty.seen.at(-1)?.headers.range).toBe('bytes=299990-');
  });

  it('asks for nothing where nothing is left', async () => {
    const { start, body } = await open().blob(reference, image.layer, LAYER.length);
    for await (const _ of body) expect.unreachable();
    expect(start).toBe(LAYER.length);
    expect(faulty.count('/blobs/')).toBe(0);
  });

  it.each<[string, Fault]>([
    ['a server that ignores Range', { type: 'ignore-range' }],
    ['a server with a range of its own', { type: 'wrong-range' }],
    ['416', { type: 'status', status: 416 }],
  ])('starts over with %s', async (_name, fault) => {
    faulty.faults = [{ on: '/blobs/', fault, times: 1 }];
    const { start, body } = await open().blob(reference, image.layer, 1000);
    let length = 0;
    for await (const chunk of body) length += chunk.length;
    expect([start, length]).toEqual([0, LAYER.length]);
  });

  it('starts over from more than there is', async () => {
    expect(await open().blob(reference, image.layer, LAYER.length + 1)).toMatchObject({ start: 0 });
  });

  it.each<[string, Fault]>([
    ['cut connections', { type: 'truncate', after: 40_000 }],
    ['chunked bodies that end early', { type: 'chunked-cut', after: 40_000 }],
    ['bodies without length that end early', { type: 'close-cut', after: 40_000 }],
    ['stalls', { type: 'stall', after: 40_000 }],
  ])('gets through %s by going on where they ended', async (_name, fault) => {
    faulty.faults = [{ on: '/blobs/', fault, times: 6 }];
    const { bytes, attempts } = await download(open({ retry: { attempts: 2, base: 1 } }), image.layer);
    expect(bytes.equals(LAYER)).toBe(true);
    expect(attempts).toBe(7);
  });

  it.each<[string, Fault, string, string]>([
    ['a stall', { type: 'stall', after: 0 }, 'unavailable', 'the server sent nothing for 0.2 s'],
    [
      'a connection that is always cut at the same place',
      { type: 'truncate', after: 0 },
      'unavailable',
      'connection reset',
    ],
    ['an endless body', { type: 'endless' }, 'invalid', 'the size is wrong'],
    [
      'a longer blob',
      { type: 'replace', body: randomBytes(300_001) },
      'invalid',
      'the server sends 300001 bytes, expected 300000',
    ],
    [
      'a shorter blob',
      { type: 'replace', body: randomBytes(10) },
      'invalid',
      'the server sends 10 bytes, expected 300000',
    ],
    ['404', { type: 'status', status: 404 }, 'not_found', ': 404'],
    ['204', { type: 'status', status: 204 }, 'invalid', 'unexpected status 204'],
    ['503', { type: 'status', status: 503 }, 'unavailable', ': 503'],
  ])('ends with one clear error at %s, always', async (_name, fault, kind, message) => {
    faulty.faults = [{ on: '/blobs/', fault }];
    const error = await failure(download(open(), image.layer));
    expect(error).toMatchObject({ kind, message: expect.stringContaining(message) });
  });

  it('does not call a slow reader a stall', async () => {
    const { body } = await open({ stallMs: 60 }).blob(reference, image.layer, 0);
    let length = 0;
    for await (const chunk of body) {
      if (length === 0) await new Promise((resolve) => setTimeout(resolve, 200));
      length += chunk.length;
    }
    expect(length).toBe(LAYER.length);
  });

  it('lets go of the connection when the reader stops', async () => {
    const { body } = await open().blob(reference, image.layer, 0);
    for await (const _ of body) break;
    const second = await open().blob(reference, image.layer, 0);
    second.close();
  });
});

describe('blobBytes()', () => {
  it('gives the config, verified', async () => {
    const bytes = await open().blobBytes(reference, image.config);
    expect(JSON.parse(Buffer.from(bytes).toString())).toMatchObject({ os: 'linux' });
  });

  it('fetches a corrupt blob once more, and gives it up then', async () => {
    faulty.faults = [{ on: '/blobs/', fault: { type: 'corrupt' }, times: 1 }];
    await open().blobBytes(reference, image.config);
    expect(faulty.count('/blobs/')).toBe(2);
    faulty.faults = [{ on: '/blobs/', fault: { type: 'corrupt' } }];
    const error = await failure(open().blobBytes(reference, image.config));
    expect(error).toMatchObject({
      kind: 'invalid',
      message: expect.stringContaining('its content has digest'),
    });
    expect(faulty.count('/blobs/')).toBe(4);
  });

  it('refuses what is too large before asking for it', async () => {
    const huge = { ...image.config, size: 1 << 30 };
    expect(await failure(open().blobBytes(reference, huge))).toMatchObject({ kind: 'invalid' });
    expect(faulty.seen).toHaveLength(0);
  });
});
