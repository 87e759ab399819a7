import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Descriptor } from '../../../src/oci/image-spec.ts';
import { parseReference } from '../../../src/registry/reference.ts';
import { openRegistry } from '../../../src/registry/registry.ts';
import { type LayoutServer, serveLayout } from '../../../src/registry/server/server.ts';

const LAYER = randomBytes(100_000);
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';

let home: string;
let many: LayoutServer;
let one: LayoutServer;
let layer: Descriptor;
let manifest: Descriptor;

function makeLayout(directory: string, names: (string | undefined)[]): void {
  mkdirSync(join(directory, 'blobs', 'sha256'), { recursive: true });
  const put = (bytes: Uint8Array, mediaType: string): Descriptor => {
    const hex = createHash('sha256').update(bytes).digest('hex');
    writeFileSync(join(directory, 'blobs', 'sha256', hex), bytes);
    return { mediaType, digest: `sha256:${hex}` as Descriptor['digest'], size: bytes.length };
  };
  const json = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value));
  layer = put(LAYER, 'application/vnd.oci.image.layer.v1.tar');
  const config = put(json({ os: 'linux' }), 'application/vnd.oci.image.config.v1+json');
  manifest = put(json({ schemaVersion: 2, mediaType: MANIFEST, config, layers: [layer] }), MANIFEST);
  const manifests = names.map((name) =>
    name === undefined
      ? manifest
      : { ...manifest, annotations: { 'org.opencontainers.image.ref.name': name } },
  );
  writeFileSync(join(directory, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests }));
  writeFileSync(join(directory, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  writeFileSync(join(directory, 'secret'), 'secret');
}

beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), 'tinyrun-layouts-'));
  makeLayout(join(home, 'many'), ['1.0', 'latest']);
  makeLayout(join(home, 'bare'), [undefined]);
  makeLayout(join(home, 'one'), [
    'busybox:1',
    'docker.io/library/busybox:2',
    'r.io/team/app',
    `r.io/team/only@sha256:${'0'.repeat(64)}`,
    'Not A Name',
  ]);
  many = await serveLayout({
    layouts: { 'team/app': join(home, 'many'), bare: join(home, 'bare'), gone: join(home, 'gone') },
  });
  one = await serveLayout({ layout: join(home, 'one') });
});
afterAll(async () => {
  await Promise.all([many.close(), one.close()]);
  rmSync(home, { recursive: true, force: true });
});

const get = (path: string, init: RequestInit = {}, server = many) => fetch(`${server.url}${path}`, init);

describe('serveLayout()', () => {
  it('is pulled from', async () => {
    const registry = openRegistry({ env: {}, dockerConfigDir: home, registriesConf: [], certsDirs: [] });
    const reference = parseReference(`${many.address}/team/app:1.0`);
    expect(await registry.headManifest(reference)).toEqual(manifest);
    expect(await registry.manifest(reference)).toMatchObject({
      digest: manifest.digest,
      mediaType: MANIFEST,
    });
    expect(Buffer.from(await registry.blobBytes(reference, layer)).equals(LAYER)).toBe(true);
    expect(await registry.tags(reference)).toEqual(['1.0', 'latest']);
    registry.close();
  });

  it.each([
    ['/v2/', {}],
    ['/v2/_catalog', { repositories: ['bare', 'gone', 'team/app'] }],
    ['/v2/team/app/tags/list', { name: 'team/app', tags: ['1.0', 'latest'] }],
    ['/v2/bare/tags/list', { name: 'bare', tags: ['latest'] }],
  ])('answers GET %s', async (path, expected) => {
    expect(await (await get(path)).json()).toEqual(expected);
  });

  it('serves one layout by the names in it', async () => {
    expect(await (await get('/v2/_catalog', {}, one)).json()).toEqual({
      repositories: ['library/busybox', 'team/app', 'team/only'],
    });
    expect(await (await get('/v2/team/only/tags/list', {}, one)).json()).toEqual({
      name: 'team/only',
      tags: [],
    });
    expect((await get(`/v2/team/only/manifests/${manifest.digest}`, {}, one)).status).toBe(200);
    expect(await (await get('/v2/library/busybox/tags/list', {}, one)).json()).toMatchObject({
      tags: ['1', '2'],
    });
    expect((await get('/v2/team/app/manifests/latest', {}, one)).headers.get('docker-content-digest')).toBe(
      manifest.digest,
    );
  });

  it.each<[string, number, string, number]>([
    ['bytes=0-9', 206, 'bytes 0-9/100000', 10],
    ['bytes=99990-', 206, 'bytes 99990-99999/100000', 10],
    ['bytes=-5', 206, 'bytes 99995-99999/100000', 5],
    ['bytes=99999-200000', 206, 'bytes 99999-99999/100000', 1],
    ['bytes=100000-', 416, 'bytes */100000', 0],
    ['bytes=5-2', 416, 'bytes */100000', 0],
    ['bytes=0-1,5-6', 200, '', 100_000],
    ['lines=1-2', 200, '', 100_000],
  ])('answers the range %s', async (range, status, contentRange, length) => {
    const response = await get(`/v2/team/app/blobs/${layer.digest}`, { headers: { range } });
    expect([response.status, response.headers.get('content-range') ?? '']).toEqual([status, contentRange]);
    const bytes = Buffer.from(await response.arrayBuffer());
    expect(bytes).toHaveLength(length);
    if (range === 'bytes=-5') expect(bytes.equals(LAYER.subarray(-5))).toBe(true);
  });

  it('answers HEAD with the length and no body', async () => {
    const response = await get(`/v2/team/app/blobs/${layer.digest}`, { method: 'HEAD' });
    expect(response.headers.get('content-length')).toBe('100000');
    expect(await response.text()).toBe('');
  });

  it.each<[string, number, string, string?]>([
    ['/v2/team/app/manifests/nope', 404, 'MANIFEST_UNKNOWN'],
    [`/v2/team/app/manifests/sha256:${'0'.repeat(64)}`, 404, 'MANIFEST_UNKNOWN'],
    ['/v2/nope/manifests/latest', 404, 'NAME_UNKNOWN'],
    ['/v2/gone/manifests/latest', 404, 'BLOB_UNKNOWN'],
    [`/v2/team/app/blobs/sha256:${'0'.repeat(64)}`, 404, 'BLOB_UNKNOWN'],
    ['/v2/team/app/blobs/sha256:../../secret', 404, 'NAME_INVALID'],
    ['/v2/team/app/blobs/..%2f..%2fsecret', 404, 'NAME_INVALID'],
    ['/v2/team/app/blobs/secret', 400, 'DIGEST_INVALID'],
    ['/v2/team/app/tags/other', 404, 'NAME_INVALID'],
    ['/v2/__proto__/manifests/latest', 404, 'NAME_INVALID'],
    ['/v2/constructor/manifests/latest', 404, 'NAME_UNKNOWN'],
    ['/etc/passwd', 404, 'NAME_INVALID'],
    ['/v2/team/app/manifests/1.0', 405, 'UNSUPPORTED', 'PUT'],
    ['/v2/team/app/manifests/1.0', 405, 'UNSUPPORTED', 'DELETE'],
  ])('refuses %s with %i %s', async (path, status, code, method = 'GET') => {
    // Not by fetch(), which resolves ".." by itself.
    const answer = await new Promise<{ status: number | undefined; body: string }>((resolve) => {
      const sent = request(many.url, { path, method, agent: false }, (response) => {
        let body = '';
        response.on('data', (chunk) => {
          body += chunk;
        });
        response.on('end', () => resolve({ status: response.statusCode, body }));
      });
      sent.end();
    });
    expect(answer.status).toBe(status);
    expect(JSON.parse(answer.body)).toMatchObject({ errors: [{ code }] });
  });

  it('does not take a layer for a manifest', async () => {
    expect((await get(`/v2/team/app/manifests/${layer.digest}`)).status).toBe(404);
  });

  it('says that a port is taken', async () => {
    const port = Number(new URL(many.url).port);
    await expect(serveLayout({ layouts: {}, port })).rejects.toMatchObject({ kind: 'conflict' });
  });
});
