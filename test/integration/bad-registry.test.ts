import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { hexOf } from '../../src/oci/digest.ts';
import { MEDIA_TYPE } from '../../src/oci/image-spec.ts';
import { type Fault, type FaultyRegistry, startFaultyRegistry } from '../harness/faulty-registry.ts';
import {
  type BuiltImage,
  type BuiltLayer,
  digestOf,
  documentOf,
  HOST_ARCHITECTURE,
  type ImageRecipe,
  imageOf,
  layerOf,
} from '../harness/images.ts';
import { failureLine, leftovers, publishTo } from '../harness/pulling.ts';
import { needing } from '../harness/requires.ts';
import { makeSandbox, type Outcome, type Sandbox, show } from '../harness/sandbox.ts';

const it = needing('root', 'overlay');

let registry: FaultyRegistry;
let box: Sandbox;
beforeAll(async () => {
  registry = await startFaultyRegistry();
  box = makeSandbox(registry.host);
});
afterAll(async () => {
  await registry.close();
  await box.dispose();
});

const HOST = { os: 'linux', architecture: HOST_ARCHITECTURE };
/** Seconds: what a silent registry is given here. */
const PATIENCE = { TINYRUN_STALL_SECONDS: '0.4' };

/** A layer of its own for each name, of 200 kB in the registry. */
function layerFor(name: string): Promise<BuiltLayer> {
  return layerOf([{ name, content: `${name} `.repeat(200_000 / (name.length + 1)) }], 'none');
}

async function imageFor(name: string, recipe: Partial<ImageRecipe> = {}): Promise<BuiltImage> {
  return imageOf({ layers: [await layerFor(name)], platform: HOST, config: { Cmd: ['x'] }, ...recipe });
}

async function publish(name: string, image?: BuiltImage): Promise<BuiltImage> {
  const made = image ?? (await imageFor(name));
  publishTo(registry, `library/${name}`, 'latest', made);
  return made;
}

/** Answers of the registry for this repository. @param part of the path behind the repository; default all */
function fault(name: string, part: string, what: Fault, times?: number): void {
  const on = new RegExp(`^(GET|HEAD) /v2/library/${name}/${part}`);
  registry.faults.push({ on, fault: what, ...(times === undefined ? {} : { times }) });
}

const status = (code: number, headers: Record<string, string> = {}, body = ''): Fault => ({
  type: 'status',
  status: code,
  headers,
  body,
});

const digests = (image: BuiltImage) => {
  const manifest = image.target.descriptor.digest;
  const [, config = manifest, layer = manifest] = [...image.blobs.keys()];
  return { manifest, config, layer };
};

const pull = (name: string, env: Record<string, string> = {}): Promise<Outcome> =>
  box.run(['pull', '-q', name], { env: { ...PATIENCE, ...env } });

/** The pull fails as it should; nothing is in the store afterwards. @returns the line that it ends with */
async function refused(name: string): Promise<string> {
  const pulled = await pull(name);
  const line = failureLine(pulled, 1);
  expect(pulled.stdout).toBe('');
  const listed = await box.run(['images', '-a', '-q', name]);
  expect(listed, show(listed)).toEqual({ code: 0, stdout: '', stderr: '' });
  await nothingOf(name);
  return line;
}

/** The same, and `run` ends with the same line. */
async function refusedTwice(name: string): Promise<string> {
  const line = await refused(name);
  const ran = await box.run(['run', '--rm', '-q', name], { env: PATIENCE });
  expect(failureLine(ran, 125)).toBe(line);
  await nothingOf(name);
  return line;
}

/** No partial download and no layer of the image that layerFor() makes. */
async function nothingOf(name: string): Promise<void> {
  const { descriptor, diffId } = await layerFor(name);
  const files = ['ingest', 'blobs/sha256', 'layers'].flatMap((directory) =>
    listing(join(box.root, directory)),
  );
  expect(files.filter((file) => [hexOf(descriptor.digest), hexOf(diffId)].includes(file))).toEqual([]);
}

function listing(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

async function survives(name: string): Promise<void> {
  const outcome = await pull(name);
  expect(outcome, show(outcome)).toEqual({
    code: 0,
    stdout: `docker.io/library/${name}:latest\n`,
    stderr: '',
  });
  expect(await box.ok(['images', name, '--format', '{{.Tag}}'])).toBe('latest');
}

describe.concurrent('a registry that refuses', () => {
  const json = (code: string, message: string): string => JSON.stringify({ errors: [{ code, message }] });

  it('asks for a token for ever', async () => {
    await publish('loop');
    const challenge = `Bearer realm="${registry.url}/token",service="test",scope="repository:library/loop:pull"`;
    fault('loop', '', status(401, { 'www-authenticate': challenge }, json('UNAUTHORIZED', 'again')));
    expect(await refusedTwice('loop')).toMatch(
      /^pull access denied for loop, repository does not exist or may require 'tinyrun login': .*401 UNAUTHORIZED/,
    );
    // HEAD and GET in each of two commands, each asked twice at the most.
    expect(registry.count('/v2/library/loop/')).toBeLessThanOrEqual(8);
  });

  it.each([
    ['basic', { 'www-authenticate': 'Basic realm="x"' }],
    ['none', {}],
    ['nonsense', { 'www-authenticate': '%%% ,,, "' }],
    ['unknown', { 'www-authenticate': 'Negotiate abc==' }],
  ])('wants a password that is not there: %s', async (kind, headers) => {
    const name = `login-${kind}`;
    await publish(name);
    fault(name, '', status(401, headers));
    expect(await refused(name)).toMatch(`pull access denied for ${name}, repository does not exist`);
  });

  it.each([
    ['file', 'file:///etc/passwd', /is not http/],
    ['elsewhere', 'http://192.0.2.1/token', /is not encrypted/],
    ['nowhere', ':', /is no address/],
  ])('sends to a token server that is none: %s', async (kind, realm, text) => {
    const name = `realm-${kind}`;
    await publish(name);
    fault(name, '', status(401, { 'www-authenticate': `Bearer realm="${realm}",service="s"` }));
    expect(await refused(name)).toMatch(text);
  });

  it.each([
    ['401', status(401, {}, '{"details":"wrong"}'), /pull access denied for token-401/],
    ['html', status(200, { 'content-type': 'text/html' }, '<html>'), /token for .* is not valid JSON/],
    ['empty', status(200, {}, '{}'), /token/],
    ['injection', status(200, {}, '{"token":"a\\r\\nX-Evil: 1"}'), /no HTTP header may have/],
  ])('has a token server that answers %s', async (kind, what, text) => {
    const name = `token-${kind}`;
    await publish(name);
    const challenge = `Bearer realm="${registry.url}/token",service="test",scope="repository:library/${name}:pull"`;
    fault(name, '', status(401, { 'www-authenticate': challenge }));
    registry.faults.push({ on: `repository%3Alibrary%2F${name}%3Apull`, fault: what });
    expect(await refused(name)).toMatch(text);
  });

  it('denies, and says why', async () => {
    await publish('denied');
    fault('denied', '', status(403, {}, json('DENIED', 'not for \x1b[31myou\u202e')));
    expect(await refusedTwice('denied')).toMatch(/^pull access denied for denied, .*403 DENIED: not for/);
  });

  it('does not have the layer, or the config', async () => {
    for (const kind of ['layer', 'config'] as const) {
      const name = `missing-${kind}`;
      const image = await publish(name);
      fault(name, `blobs/${digests(image)[kind]}`, status(404, {}, json('BLOB_UNKNOWN', 'blob unknown')));
      expect(await refusedTwice(name)).toMatch(/404 BLOB_UNKNOWN: blob unknown/);
    }
  });

  it('is not there', async () => {
    const outcome = await box.run(['pull', '127.0.0.1:1/x']);
    expect(failureLine(outcome, 1)).toMatch(/127\.0\.0\.1:1\/.*connection refused/);
    expect(failureLine(await box.run(['pull', 'nosuch.invalid/x']), 1)).toMatch(
      /^HEAD https:\/\/nosuch\.invalid\/v2\/x\/manifests\/latest: (no such host|the host name cannot)[^/]*$/,
    );
    const tls = await box.run(['pull', `localhost:${registry.host.split(':')[1]}/none`]);
    expect(failureLine(tls, 1)).toContain('not found');
  });
});

describe.concurrent('a registry that is busy', () => {
  it('says when to come back, later than anybody waits', async () => {
    await publish('limited');
    const headers = {
      'retry-after': '3600',
      'ratelimit-limit': '100;w=21600',
      'ratelimit-remaining': '0;w=21600',
    };
    fault(
      'limited',
      '',
      status(429, headers, '{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your limit"}]}'),
    );
    const before = Date.now();
    const outcome = await pull('limited');
    expect(failureLine(outcome, 1)).toContain('429 TOOMANYREQUESTS: You have reached your limit');
    expect(outcome.stderr).toMatch(
      /Retry after [0-9:]{8} UTC \(in 3600 s\); limit 100 per 21600 s, 0 remaining/,
    );
    expect(Date.now() - before).toBeLessThan(5000);
    expect(registry.count('GET /v2/library/limited/')).toBe(1);
  });

  it('says so for a while', async () => {
    await publish('patience');
    // The HEAD, which is not repeated, and the first GET.
    fault('patience', 'manifests', status(429, { 'retry-after': '1' }), 2);
    const before = Date.now();
    await survives('patience');
    expect(Date.now() - before).toBeGreaterThanOrEqual(1000);
  });

  it('says so for ever', async () => {
    await publish('for-ever');
    fault('for-ever', '', status(429, { 'retry-after': '1' }));
    const outcome = await pull('for-ever');
    expect(failureLine(outcome, 1)).toMatch(/429/);
    expect(registry.count('GET /v2/library/for-ever/')).toBe(5);
    await nothingOf('for-ever');
  });

  it.each(['manifests', 'blobs'])('fails once with %s', async (part) => {
    for (const [at, code] of [500, 502, 503, 504].entries()) {
      const name = `once-${code}-${part}`;
      await publish(name);
      fault(name, part, at === 3 ? { type: 'reset' } : status(code), 1);
      await survives(name);
    }
  });

  it.each(['manifests', 'blobs/LAYER'])('always fails with %s', async (part) => {
    const name = `always-${part.slice(0, 5)}`;
    const image = await publish(name);
    fault(name, part.replace('LAYER', digests(image).layer), status(500, {}, 'oops\nand more'));
    const outcome = await pull(name);
    expect(failureLine(outcome, 1)).toMatch(/: 500/);
    await nothingOf(name);
  });

  it('tells of the retries of a layer', async () => {
    const image = await publish('told');
    fault('told', `blobs/${digests(image).layer}`, status(503), 2);
    const outcome = await box.run(['pull', 'told']);
    expect(outcome.code, show(outcome)).toBe(0);
    const id = hexOf(digests(image).layer).slice(0, 12);
    expect(outcome.stdout.match(new RegExp(`^${id}: Retrying in 1 second$`, 'gm'))?.length).toBe(1);
  });

  it('knows no HEAD', async () => {
    await publish('headless');
    registry.faults.push({ on: 'HEAD /v2/library/headless/', fault: status(405) });
    await survives('headless');
    expect(await box.ok(['pull', 'headless'])).toContain('Image is up to date');
  });
});

describe.concurrent('a registry that breaks off', () => {
  it.each<[string, Fault]>([
    ['truncated', { type: 'truncate', after: 150_000 }],
    ['chunked', { type: 'chunked-cut', after: 150_000 }],
    ['closed', { type: 'close-cut', after: 150_000 }],
    ['stalled', { type: 'stall', after: 150_000 }],
    ['silent', { type: 'stall', after: -1 }],
    ['empty', { type: 'truncate', after: 0 }],
  ])('once: %s', async (name, what) => {
    const image = await publish(name);
    const path = `blobs/${digests(image).layer}`;
    fault(name, path, what, 1);
    await survives(name);
    const requests = registry.seen.filter((one) => one.path === `/v2/library/${name}/${path}`);
    expect(requests.length).toBe(2);
    // The second request goes on where the first one ended.
    const from = 'after' in what && what.after > 0 ? `bytes=${what.after}-` : undefined;
    expect(requests[1]?.headers.range).toBe(from);
  });

  it.each<[string, Fault, RegExp]>([
    ['always-cut', { type: 'truncate', after: 0 }, /the answer ended early|connection reset|bytes early/],
    ['always-stalled', { type: 'stall', after: 0 }, /the server sent nothing for 0\.4 s/],
    ['always-silent', { type: 'stall', after: -1 }, /no answer within 0\.4 s/],
    ['always-reset', { type: 'reset' }, /connection reset by the server/],
  ])('always: %s', async (name, what, text) => {
    const image = await publish(name);
    const path = `blobs/${digests(image).layer}`;
    fault(name, path, { type: 'truncate', after: 70_000 }, 1);
    fault(name, path, what);
    const outcome = await pull(name);
    expect(failureLine(outcome, 1)).toMatch(text);
    expect(registry.count(`${name}/${path}`)).toBe(5);
    // What came is kept where it came from: the next pull goes on there.
    registry.faults = registry.faults.filter(
      ({ on }) => !(on instanceof RegExp && on.source.includes(`${name}\\/`)),
    );
    await survives(name);
    const last = registry.seen.filter((one) => one.path.includes(`${name}/${path}`)).at(-1);
    expect(last?.headers.range).toBe('bytes=70000-');
  });

  it('goes on from where it is: a blob in nine pieces', async () => {
    const layer = await layerOf([{ name: 'pieces', content: Buffer.alloc(4 << 20, 'pieces') }], 'none');
    const image = await publish('pieces', imageOf({ layers: [layer], platform: HOST }));
    const path = `blobs/${digests(image).layer}`;
    // More often than a registry is tried in a row: every piece is progress.
    for (let at = 1; at <= 8; at += 1) fault('pieces', path, { type: 'truncate', after: 500_000 }, 1);
    await survives('pieces');
    expect(registry.count(`pieces/${path}`)).toBe(9);
  });

  it.each<[string, Fault]>([
    ['ignores-range', { type: 'ignore-range' }],
    ['wrong-range', { type: 'wrong-range' }],
  ])('and %s', async (name, what) => {
    const image = await publish(name);
    const path = `blobs/${digests(image).layer}`;
    fault(name, path, { type: 'truncate', after: 100_000 }, 1);
    fault(name, path, what, 1);
    await survives(name);
  });
});

describe.concurrent('a registry that lies', () => {
  it('about the bytes of a layer, once', async () => {
    const image = await publish('flipped');
    fault('flipped', `blobs/${digests(image).layer}`, { type: 'corrupt' }, 1);
    await survives('flipped');
  });

  it('about the bytes of a layer', async () => {
    const image = await publish('corrupt');
    fault('corrupt', `blobs/${digests(image).layer}`, { type: 'corrupt' });
    expect(await refusedTwice('corrupt')).toMatch(
      new RegExp(`filesystem layer verification failed for digest ${digests(image).layer}`),
    );
    // Twice in each command: once may be an accident.
    expect(registry.count(`GET /v2/library/corrupt/blobs/${digests(image).layer}`)).toBe(4);
  });

  it('about the bytes of the config', async () => {
    const image = await publish('bad-config');
    fault('bad-config', `blobs/${digests(image).config}`, { type: 'corrupt' });
    expect(await refused('bad-config')).toMatch(/its content has digest "sha256:/);
  });

  it('about the bytes of a manifest that was asked for by digest', async () => {
    const image = await publish('bad-manifest');
    const other = await imageFor('other');
    fault('bad-manifest', `manifests/sha256`, {
      type: 'replace',
      body: other.target.bytes,
      contentType: MEDIA_TYPE.ociManifest,
    });
    const outcome = await pull(`bad-manifest@${digests(image).manifest}`);
    expect(failureLine(outcome, 1)).toMatch(/the content has digest "sha256:|size/);
  });

  it('about the digest of a manifest in its header', async () => {
    await publish('bad-header');
    const headers = { 'docker-content-digest': digestOf('something else') };
    fault('bad-header', 'manifests', { type: 'headers', headers });
    expect(await refused('bad-header')).toMatch(/the content has digest "sha256:/);
  });

  it.each([
    ['more', 10],
    ['less', -10],
    ['far-more', 2 ** 52],
  ])('about the size of a layer: %s', async (kind, difference) => {
    const name = `size-${kind}`;
    const image = await imageFor(name);
    const manifest = JSON.parse(image.target.bytes.toString()) as { layers: { size: number }[] };
    for (const layer of manifest.layers) layer.size += difference;
    const target = documentOf(manifest, MEDIA_TYPE.ociManifest);
    await publish(name, {
      target,
      blobs: new Map([...image.blobs, [target.descriptor.digest, target.bytes]]),
    });
    expect(await refused(name)).toMatch(/the size is wrong: the server sends \d+ bytes, expected \d+/);
  });

  it('and never stops sending', async () => {
    const image = await publish('endless-blob');
    fault('endless-blob', `blobs/${digests(image).layer}`, { type: 'endless' });
    expect(await refusedTwice('endless-blob')).toMatch(/the size is wrong: the server sends more bytes/);
    await publish('endless-manifest');
    fault('endless-manifest', 'manifests', { type: 'endless' });
    expect(await refused('endless-manifest')).toMatch(
      /the answer is too long, expected 4194304 bytes at most/,
    );
  });

  it('about the kind of a document', async () => {
    await publish('kind');
    fault('kind', 'manifests', { type: 'headers', headers: { 'content-type': MEDIA_TYPE.ociIndex } });
    expect(await refused('kind')).toMatch(/Cannot read manifest: it was announced as/);
  });

  it('about the compression of a layer', async () => {
    const layer = await layerOf([{ name: 'file', content: 'plain' }], 'none');
    const as = (mediaType: string): BuiltLayer => ({
      ...layer,
      descriptor: { ...layer.descriptor, mediaType },
    });
    // What the bytes are decides, as in Docker; the diffID is verified in any case.
    for (const [name, mediaType] of [
      ['as-gzip', MEDIA_TYPE.ociLayerGzip],
      ['as-zstd', MEDIA_TYPE.ociLayerZstd],
    ] as const) {
      await publish(name, imageOf({ layers: [as(mediaType)], platform: HOST, config: { Cmd: ['x'] } }));
      const outcome = await pull(name);
      if (outcome.code !== 0) expect(failureLine(outcome, 1)).toMatch(/Cannot unpack layer|media type/);
    }
  });
});

describe.concurrent('a registry that redirects', () => {
  it.each<[string, (name: string) => string, RegExp]>([
    ['in-a-circle', (name) => `/v2/library/${name}/manifests/latest`, /redirects in a circle/],
    ['to-a-file', () => 'file:///etc/passwd', /no usable address/],
    ['with-a-password', () => 'http://user:secret@127.0.0.1/', /no usable address/],
    ['to-nothing', () => 'http://127.0.0.1:1/?signature=secret', /127\.0\.0\.1:1\/.*: connection refused/],
    ['to-nonsense', () => 'http://%zz/', /no usable address/],
  ])('%s', async (name, to, text) => {
    await publish(name);
    fault(name, 'manifests', { type: 'redirect', to: to(name) });
    const line = await refused(name);
    expect(line).toMatch(text);
    expect(line).not.toContain('secret');
  });

  it('ever further', async () => {
    await publish('further');
    for (let at = 0; at < 60; at += 1)
      fault('further', 'manifests', { type: 'redirect', to: `/v2/library/further/manifests/n${at}` }, 1);
    expect(await refused('further')).toMatch(/redirects more than 10 times/);
  });

  it('blobs to another host, which never sees the password', async () => {
    const [origin, store] = [await startFaultyRegistry(), await startFaultyRegistry()];
    try {
      const docker = join(box.directory, 'docker-redirect');
      mkdirSync(docker);
      const auth = Buffer.from('user:pass').toString('base64');
      writeFileSync(join(docker, 'config.json'), JSON.stringify({ auths: { [origin.host]: { auth } } }));
      origin.auth = { type: 'basic', username: 'user', password: 'pass' };
      const pullFrom = async (name: string): Promise<Outcome> => {
        const image = await imageFor(name);
        publishTo(origin, `secret/${name}`, 'latest', image);
        publishTo(store, `secret/${name}`, 'latest', image);
        for (const part of ['config', 'layer'] as const) {
          const path = `/v2/secret/${name}/blobs/${digests(image)[part]}`;
          origin.faults.push({
            on: path,
            fault: { type: 'redirect', to: `${store.url}${path}?signed=secret` },
          });
        }
        return box.run(['pull', '-q', `${origin.host}/secret/${name}`], { env: { DOCKER_CONFIG: docker } });
      };
      const outcome = await pullFrom('redirected');
      expect(outcome.code, show(outcome)).toBe(0);
      expect(store.seen.length).toBe(2);
      expect(origin.seen.some(({ headers }) => headers.authorization === `Basic ${auth}`)).toBe(true);
      // A store that asks for a password gets none either, and its address is not told with its signature.
      store.auth = { type: 'basic', username: 'user', password: 'pass' };
      const asked = await pullFrom('asked');
      expect(failureLine(asked, 1)).toMatch(/401/);
      expect(asked.stderr).not.toContain('signed=secret');
      for (const { headers } of store.seen) {
        expect(headers.authorization).toBeUndefined();
        expect(headers.cookie).toBeUndefined();
      }
    } finally {
      await Promise.all([origin.close(), store.close()]);
    }
  });
});

describe.concurrent('documents that are none', () => {
  const config = { mediaType: MEDIA_TYPE.ociConfig, digest: digestOf('config'), size: 6 };
  const manifest = (fields: object): string =>
    JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPE.ociManifest, config, layers: [], ...fields });

  it.each<[string, string, RegExp]>([
    ['nothing', '', /it is not valid JSON/],
    ['text', 'hello', /it is not valid JSON/],
    ['list', '[]', /expected an object|Cannot read manifest/],
    ['null', 'null', /Cannot read manifest/],
    ['deep', '['.repeat(100_000) + ']'.repeat(100_000), /Cannot read manifest/],
    ['empty', '{}', /neither "manifests" nor "config"/],
    ['version', manifest({ schemaVersion: 3 }), /schemaVersion/],
    ['both', manifest({ manifests: [] }), /both "manifests" and "layers"/],
    ['config-text', manifest({ config: 'x' }), /config/],
    ['layers-object', manifest({ layers: {} }), /layers/],
    ['layers-null', manifest({ layers: [null] }), /layers/],
    ['digest-path', manifest({ layers: [{ ...config, digest: 'sha256:../../../../etc/passwd' }] }), /digest/],
    ['digest-md5', manifest({ layers: [{ ...config, digest: `md5:${'0'.repeat(32)}` }] }), /digest/],
    ['size-negative', manifest({ layers: [{ ...config, size: -1 }] }), /size/],
    ['size-text', manifest({ layers: [{ ...config, size: '6' }] }), /size/],
    ['size-huge', manifest({ layers: [{ ...config, size: 1e300 }] }), /size/],
    [
      'layer-type',
      manifest({ layers: [{ ...config, mediaType: 'text/plain' }] }),
      /layer of type "text\/plain"/,
    ],
    [
      'encrypted',
      manifest({ layers: [{ ...config, mediaType: `${MEDIA_TYPE.ociLayerGzip}+encrypted` }] }),
      /it is encrypted/,
    ],
    ['many-layers', manifest({ layers: Array(5000).fill(config) }), /5000|layers/],
    [
      'artifact',
      manifest({ config: { ...config, mediaType: 'application/vnd.cncf.helm.config.v1+json' } }),
      /helm|artifact|not an image|no image/,
    ],
    [
      'schema-1',
      JSON.stringify({ schemaVersion: 1, name: 'x', tag: 'y', fsLayers: [], history: [], signatures: [] }),
      /schema 1 support has been removed/,
    ],
    [
      'index-empty',
      JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPE.ociIndex, manifests: [] }),
      /no matching manifest for linux\//,
    ],
  ])('manifest: %s', async (kind, text, expected) => {
    const name = `manifest-${kind}`;
    const bytes = Buffer.from(text);
    const mediaType = kind.startsWith('index') ? MEDIA_TYPE.ociIndex : MEDIA_TYPE.ociManifest;
    registry.addManifest(`library/${name}`, 'latest', bytes, mediaType);
    expect(await refused(name)).toMatch(expected);
  });

  it('manifest: huge', async () => {
    const bytes = Buffer.from(manifest({ annotations: { a: 'x'.repeat(5 << 20) } }));
    registry.addManifest('library/huge', 'latest', bytes, MEDIA_TYPE.ociManifest);
    expect(await refusedTwice('huge')).toMatch(/the answer is too long, expected 4194304 bytes at most/);
  });

  it('index: that names an index', async () => {
    const inner = documentOf(
      { schemaVersion: 2, mediaType: MEDIA_TYPE.ociIndex, manifests: [] },
      MEDIA_TYPE.ociIndex,
    );
    const outer = documentOf(
      {
        schemaVersion: 2,
        mediaType: MEDIA_TYPE.ociIndex,
        manifests: [{ ...inner.descriptor, platform: HOST }],
      },
      MEDIA_TYPE.ociIndex,
    );
    const blobs = new Map([inner, outer].map((one) => [one.descriptor.digest, one.bytes]));
    await publish('nested', { target: outer, blobs });
    expect(await refusedTwice('nested')).toMatch(/its index names another index, expected a manifest/);
  });

  it.each<[string, Record<string, unknown>, RegExp]>([
    ['env-number', { config: { Env: 5 } }, /config\.Env/],
    ['env-nested', { config: { Env: [['A=1']] } }, /config\.Env/],
    ['cmd-object', { config: { Cmd: { 0: 'sh' } } }, /config\.Cmd/],
    ['entrypoint-number', { config: { Entrypoint: [1] } }, /config\.Entrypoint/],
    ['user-list', { config: { User: ['root'] } }, /config\.User/],
    ['workingdir-number', { config: { WorkingDir: 7 } }, /config\.WorkingDir/],
    ['volumes-list', { config: { Volumes: ['/x'] } }, /config\.Volumes/],
    ['ports-text', { config: { ExposedPorts: '80' } }, /config\.ExposedPorts/],
    ['labels-number', { config: { Labels: { a: 1 } } }, /config\.Labels/],
    ['stopsignal-object', { config: { StopSignal: {} } }, /config\.StopSignal/],
    ['config-list', { config: [] }, /config/],
    ['os-number', { os: 1 }, /\bos\b/],
    ['architecture-list', { architecture: [] }, /architecture/],
    ['created-number', { created: 5 }, /created/],
    ['rootfs-missing', { rootfs: undefined }, /rootfs/],
    ['rootfs-type', { rootfs: { type: 'other', diff_ids: [] } }, /rootfs\.type/],
    ['diffids-text', { rootfs: { type: 'layers', diff_ids: 'x' } }, /diff_ids/],
    ['diffids-nonsense', { rootfs: { type: 'layers', diff_ids: ['../../etc'] } }, /diff_ids\[0\]/],
    [
      'diffids-missing',
      { rootfs: { type: 'layers', diff_ids: [] } },
      /number of layers and diffIDs don't match/,
    ],
    ['history-text', { history: 'x' }, /history/],
  ])('config: %s', async (kind, override, expected) => {
    const name = `config-${kind}`;
    await publish(name, await imageFor(name, { override }));
    expect(await refused(name)).toMatch(expected);
  });

  it('config: not JSON, huge, empty', async () => {
    const layer = await layerFor('raw');
    const withConfig = async (name: string, bytes: Buffer): Promise<void> => {
      const descriptor = { mediaType: MEDIA_TYPE.ociConfig, digest: digestOf(bytes), size: bytes.length };
      const target = documentOf(
        {
          schemaVersion: 2,
          mediaType: MEDIA_TYPE.ociManifest,
          config: descriptor,
          layers: [layer.descriptor],
        },
        MEDIA_TYPE.ociManifest,
      );
      const blobs = new Map([
        [target.descriptor.digest, target.bytes],
        [descriptor.digest, bytes],
        [layer.descriptor.digest, layer.bytes],
      ]);
      await publish(name, { target, blobs });
    };
    await withConfig('raw-text', Buffer.from('hello'));
    expect(await refusedTwice('raw-text')).toMatch(/image config: it is not valid JSON/);
    await withConfig('raw-binary', Buffer.from([0xff, 0xfe, 0x00]));
    expect(await refused('raw-binary')).toMatch(/image config: it is not valid JSON/);
    await withConfig('raw-huge', Buffer.alloc(11 << 20, ' '));
    expect(await refused('raw-huge')).toMatch(/expected 10485760 at most/);
    await withConfig('raw-empty', Buffer.alloc(0));
    expect(await refused('raw-empty')).toMatch(/image config: it is not valid JSON/);
  });
});

describe('after all of that', () => {
  it('no socket, file or image of a failed pull is left, and the store works', async () => {
    expect(await leftovers(box.root)).toEqual([]);
    const listed = await box.run(['images']);
    expect(listed.code, show(listed)).toBe(0);
    const names = (await box.ok(['images', '-q', '--no-trunc'])).split('\n');
    const removed = await box.run(['rmi', '-f', ...names]);
    expect(removed.code, show(removed)).toBe(0);
    // The last removal also collected what the failed pulls had fetched before they failed.
    expect(listing(join(box.root, 'blobs/sha256'))).toEqual([]);
    expect(listing(join(box.root, 'layers'))).toEqual([]);
    expect(await leftovers(box.root)).toEqual([]);
  });

  it('a server that is no registry at all is named', async () => {
    const server = createServer((_, response) => response.end('hello'));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    try {
      const outcome = await box.run(['pull', `127.0.0.1:${port}/x`]);
      expect(failureLine(outcome, 1)).toMatch(/not valid JSON/);
    } finally {
      server.close();
    }
  });
});
