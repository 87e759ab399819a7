import type { ChildProcess } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { hashSync } from 'bcryptjs';
import { afterAll, beforeAll, describe, expect } from 'vitest';
import { AUTHORITY, SERVER_CERT, SERVER_KEY } from '../harness/certificates.ts';
import { busyboxImage, documentOf, writeLayout } from '../harness/images.ts';
import { mountSmallStore } from '../harness/pulling.ts';
import { needing } from '../harness/requires.ts';
import { makeSandbox, type Sandbox, show } from '../harness/sandbox.ts';

const it = needing('root', 'overlay', 'skopeo', 'busybox-static');
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';
const INDEX = 'application/vnd.oci.image.index.v1+json';

let box: Sandbox;
let server: Serving;
let layout: string;
beforeAll(async () => {
  box = makeSandbox();
  layout = join(box.directory, 'layout');
  mkdirSync(layout);
  writeLayout(layout, { latest: await busyboxImage() });
  server = await serve(['--writable']);
});
afterAll(async () => {
  await server.stop();
  await box.dispose();
});

interface Serving {
  /** `host:port` */
  readonly address: string;
  readonly url: string;
  stop(signal?: NodeJS.Signals): Promise<void>;
}

async function serve(args: readonly string[], listen = '127.0.0.1:0'): Promise<Serving> {
  const child: ChildProcess = box.start(['registry', 'serve', '--listen', listen, ...args]);
  let [said, complained] = ['', ''];
  child.stderr?.on('data', (chunk) => {
    complained += chunk;
  });
  const url = await new Promise<string>((resolve, reject) => {
    child.stdout?.on('data', (chunk) => {
      said += chunk;
      const found = /Serving images at (\S+)\n/.exec(said)?.[1];
      if (found !== undefined) resolve(found);
    });
    child.once('close', (code) => reject(new Error(`registry serve ended with ${code}: ${complained}`)));
  });
  return {
    url,
    address: new URL(url).host,
    stop: (signal = 'SIGTERM') =>
      new Promise((resolve) => {
        child.once('close', () => resolve());
        child.kill(signal);
      }),
  };
}

const sha256 = (bytes: Uint8Array): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
const call = (method: string, path: string, init: RequestInit = {}): Promise<Response> =>
  fetch(new URL(path, server.url), { method, ...init });
const codeOf = async (response: Response): Promise<string> =>
  ((await response.json()) as { errors: { code: string }[] }).errors[0]?.code ?? '';

async function begin(repository: string): Promise<string> {
  const response = await call('POST', `/v2/${repository}/blobs/uploads/`);
  expect(response.status).toBe(202);
  return response.headers.get('location') ?? '';
}

async function putBlob(repository: string, bytes: Uint8Array): Promise<string> {
  const digest = sha256(bytes);
  const location = await begin(repository);
  const response = await call('PUT', `${location}?digest=${digest}`, { body: new Uint8Array(bytes) });
  expect([response.status, response.headers.get('docker-content-digest')]).toEqual([201, digest]);
  return digest;
}

/** A manifest over new blobs, not sent yet. */
async function manifestIn(repository: string, more: object = {}) {
  const [config, layer] = [Buffer.from('{}'), randomBytes(100)];
  await putBlob(repository, config);
  await putBlob(repository, layer);
  const describe = (bytes: Buffer, mediaType: string) => ({
    mediaType,
    digest: sha256(bytes),
    size: bytes.length,
  });
  return documentOf(
    {
      schemaVersion: 2,
      mediaType: MANIFEST,
      config: describe(config, 'application/vnd.oci.image.config.v1+json'),
      layers: [describe(layer, 'application/vnd.oci.image.layer.v1.tar')],
      ...more,
    },
    MANIFEST,
  );
}

const putManifest = (path: string, bytes: Uint8Array, type = MANIFEST): Promise<Response> =>
  call('PUT', path, { body: new Uint8Array(bytes), headers: { 'content-type': type } });

describe('registry serve --writable', () => {
  it('takes what skopeo pushes, gives it back byte for byte, and runs it', async () => {
    const name = `docker://${server.address}/team/box:v1`;
    const digest = (
      JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8')) as { manifests: { digest: string }[] }
    ).manifests[0]?.digest;
    const pushed = await box.host([
      'skopeo',
      'copy',
      '--dest-tls-verify=false',
      `oci:${layout}:latest`,
      name,
    ]);
    expect(pushed.code, show(pushed)).toBe(0);
    const back = join(box.directory, 'back');
    const pulled = await box.host(['skopeo', 'copy', '--src-tls-verify=false', name, `oci:${back}:x`]);
    expect(pulled.code, show(pulled)).toBe(0);
    expect(readFileSync(join(back, 'index.json'), 'utf8')).toContain(digest);
    expect(await box.ok(['images', '--format', '{{.Repository}}:{{.Tag}}'])).toBe('localhost/team/box:v1');
    expect(await box.ok(['run', '--rm', 'localhost/team/box:v1', 'echo', 'pushed'])).toBe('pushed');
  });

  it('is pushed to and pulled from by tinyrun, and mounts what it has', async () => {
    const name = `${server.address}/other/box:v2`;
    await box.ok(['pull', '-q', `${server.address}/team/box:v1`]);
    await box.ok(['tag', `${server.address}/team/box:v1`, name]);
    const pushed = await box.ok(['push', name]);
    expect(pushed).toMatch(/: Layer already exists$/m);
    expect(await (await call('GET', '/v2/other/box/tags/list')).json()).toEqual({
      name: 'other/box',
      tags: ['v2'],
    });
  });

  it('takes a blob in pieces, in order, and goes on after a break', async () => {
    const bytes = randomBytes(3000);
    const location = await begin('rules/pieces');
    const patch = (first: number, last: number) =>
      call('PATCH', location, {
        body: new Uint8Array(bytes.subarray(first, last + 1)),
        headers: { 'content-range': `${first}-${last}` },
      });
    expect((await patch(1000, 1999)).status).toBe(416);
    const first = await patch(0, 999);
    expect([first.status, first.headers.get('range')]).toEqual([202, '0-999']);
    const again = await patch(0, 999);
    expect([again.status, again.headers.get('range')]).toEqual([416, '0-999']);
    // A server that dies: what it has taken is still there.
    const { port } = new URL(server.url);
    await server.stop('SIGKILL');
    server = await serve(['--writable'], `127.0.0.1:${port}`);
    const status = await call('GET', location);
    expect([status.status, status.headers.get('range')]).toEqual([204, '0-999']);
    expect((await patch(1000, 1999)).status).toBe(202);
    const end = await call('PUT', `${location}?digest=${sha256(bytes)}`, {
      body: new Uint8Array(bytes.subarray(2000)),
      headers: { 'content-range': '2000-2999' },
    });
    expect(end.status).toBe(201);
    const got = await call('GET', end.headers.get('location') ?? '');
    expect(Buffer.from(await got.arrayBuffer()).equals(bytes)).toBe(true);
    expect((await call('GET', location)).status).toBe(404);
  });

  it('keeps what came before a client went away, and takes the rest', async () => {
    const bytes = randomBytes(200_000);
    const location = await begin('rules/cut');
    const { hostname, port } = new URL(server.url);
    await new Promise<void>((resolve, reject) => {
      const socket = connect(Number(port), hostname, () => {
        socket.write(`PATCH ${location} HTTP/1.1\r\nHost: x\r\nContent-Length: ${bytes.length}\r\n\r\n`);
        socket.write(bytes.subarray(0, 120_000), () => setTimeout(() => socket.destroy(), 100));
      });
      socket.once('error', reject);
      socket.once('close', () => resolve());
    });
    const status = await call('GET', location);
    expect([status.status, status.headers.get('range')]).toEqual([204, '0-119999']);
    const end = await call('PUT', `${location}?digest=${sha256(bytes)}`, {
      body: new Uint8Array(bytes.subarray(120_000)),
    });
    expect(end.status).toBe(201);
  });

  it('gives the space of an upload back that does not fit on the disk', async () => {
    const directory = join(box.directory, 'small');
    const disk = mountSmallStore(directory, 8);
    const small = await serve(['--writable', '--layout', join(directory, 'layout')]);
    try {
      const put = async (size: number): Promise<number> => {
        const bytes = randomBytes(size);
        const begun = await fetch(`${small.url}/v2/a/b/blobs/uploads/`, { method: 'POST' });
        const address = new URL(`${begun.headers.get('location')}?digest=${sha256(bytes)}`, small.url);
        return (await fetch(address, { method: 'PUT', body: new Uint8Array(bytes) })).status;
      };
      expect(await put(16 << 20)).toBe(507);
      expect(await put(6 << 20)).toBe(201);
    } finally {
      await small.stop();
      disk.unmount();
    }
  });

  it('lets in who has logged in', async () => {
    const users = join(box.directory, 'docker-users');
    writeFileSync(users, `bob:${hashSync('geheim', 4)}\n`);
    const guarded = await serve([
      '--writable',
      '--layout',
      join(box.directory, 'guarded'),
      '--htpasswd',
      users,
    ]);
    try {
      const name = `${guarded.address}/bob/box`;
      await box.ok(['tag', 'localhost/team/box:v1', name]);
      const refused = await box.run(['push', name]);
      expect([refused.code, refused.stderr.split('\n')[0]]).toEqual([
        1,
        expect.stringContaining('denied: requested access to the resource is denied'),
      ]);
      const login = (password: string) =>
        box.run(['login', '-u', 'bob', '--password-stdin', guarded.address], { input: password });
      expect((await login('falsch')).code).toBe(1);
      expect((await login('geheim')).stdout).toBe('Login Succeeded\n');
      await box.ok(['push', name]);
      expect(await box.ok(['inspect', '--remote', '-f', '{{.Os}}', name])).toBe('linux');
      await box.ok(['rmi', name]);
    } finally {
      await guarded.stop();
    }
  });

  it('keeps nothing of a blob that is not what its digest says', async () => {
    const location = await begin('rules/wrong');
    const wrong = sha256(Buffer.from('other'));
    const response = await call('PUT', `${location}?digest=${wrong}`, { body: 'these' });
    expect([response.status, await codeOf(response)]).toEqual([400, 'DIGEST_INVALID']);
    expect((await call('HEAD', `/v2/rules/wrong/blobs/${wrong}`)).status).toBe(404);
    const cancelled = await begin('rules/wrong');
    expect((await call('DELETE', cancelled)).status).toBe(204);
    expect((await call('PATCH', cancelled, { body: 'x' })).status).toBe(404);
    expect(readdirSync(join(box.root, 'ingest')).filter((name) => name.startsWith('upload-'))).toEqual([]);
  });

  it.each<[string, string, string, number, string, string?]>([
    ['POST', 'blobs/uploads/?digest=sha256:short', '', 400, 'DIGEST_INVALID'],
    ['POST', 'blobs/uploads/?digest-algorithm=md5', '', 400, 'DIGEST_INVALID'],
    ['PUT', 'blobs/uploads/00000000-0000-0000-0000-000000000000?digest=x', '', 404, 'BLOB_UPLOAD_UNKNOWN'],
    ['PATCH', 'blobs/uploads/..%2f..%2findex.json', 'x', 404, 'NAME_INVALID'],
    ['PUT', 'manifests/t', 'no json', 400, 'MANIFEST_INVALID'],
    ['PUT', 'manifests/t', '{"schemaVersion":2}', 400, 'MANIFEST_INVALID'],
    ['PUT', 'manifests/t', `{"schemaVersion":2,"layers":[],"manifests":[]}`, 400, 'MANIFEST_INVALID'],
    ['PUT', `manifests/sha256:${'0'.repeat(64)}`, '{}', 400, 'DIGEST_INVALID'],
    ['PUT', 'manifests/-t', '{}', 400, 'MANIFEST_INVALID'],
    [
      'PUT',
      'manifests/t',
      `{"schemaVersion":2,"mediaType":"${INDEX}","manifests":[{"mediaType":"${MANIFEST}","digest":"sha256:${'0'.repeat(64)}","size":2}]}`,
      400,
      'MANIFEST_BLOB_UNKNOWN',
      INDEX,
    ],
    ['DELETE', 'manifests/none', '', 404, 'MANIFEST_UNKNOWN'],
    ['DELETE', `blobs/sha256:${'0'.repeat(64)}`, '', 404, 'BLOB_UNKNOWN'],
    ['GET', 'tags/list?n=many', '', 400, 'UNSUPPORTED'],
    ['GET', 'referrers/sha256:short', '', 400, 'DIGEST_INVALID'],
    ['PUT', 'blobs/x', '', 405, 'UNSUPPORTED'],
  ])('refuses %s %s %s with %i %s', async (method, path, body, status, code, type = MANIFEST) => {
    const response = await call(method, `/v2/team/box/${path}`, {
      ...(body === '' ? {} : { body }),
      headers: { 'content-type': type },
    });
    expect([response.status, await codeOf(response)]).toEqual([status, code]);
  });

  it('refuses a manifest of 5 MB', async () => {
    const response = await putManifest('/v2/team/box/manifests/t', Buffer.alloc(5 << 20));
    expect([response.status, await codeOf(response)]).toEqual([413, 'MANIFEST_INVALID']);
    // Without a length nobody knows before it is too much.
    const stream = new ReadableStream({
      start(controller) {
        for (let at = 0; at < 5; at += 1) controller.enqueue(new Uint8Array(1 << 20));
        controller.close();
      },
    });
    const init: RequestInit & { duplex: 'half' } = { body: stream, duplex: 'half' };
    const streamed = await call('PUT', '/v2/team/box/manifests/t', init);
    expect([streamed.status, await codeOf(streamed)]).toEqual([413, 'MANIFEST_INVALID']);
  });

  it('lists tags in pages', async () => {
    const { bytes } = await manifestIn('rules/tags');
    for (const tag of ['c', 'a', 'B', 'b']) await putManifest(`/v2/rules/tags/manifests/${tag}`, bytes);
    const first = await call('GET', '/v2/rules/tags/tags/list?n=2');
    expect(await first.json()).toEqual({ name: 'rules/tags', tags: ['B', 'a'] });
    const next = /<([^>]+)>; rel="next"/.exec(first.headers.get('link') ?? '')?.[1] ?? '';
    const second = await call('GET', next);
    expect(await second.json()).toEqual({ name: 'rules/tags', tags: ['b', 'c'] });
    expect(second.headers.get('link')).toBeNull();
    expect(await (await call('GET', '/v2/rules/tags/tags/list?n=0')).json()).toMatchObject({ tags: [] });
  });

  it('keeps a manifest by digest when its tag moves or goes, and forgets it when it is removed', async () => {
    const [one, two] = [await manifestIn('rules/remove'), await manifestIn('rules/remove')];
    const path = '/v2/rules/remove/manifests';
    const digestOf = async (name: string) =>
      (await call('HEAD', `${path}/${name}`)).headers.get('docker-content-digest');
    for (const { bytes } of [one, two]) expect((await putManifest(`${path}/t`, bytes)).status).toBe(201);
    expect(await digestOf('t')).toBe(two.descriptor.digest);
    expect(await digestOf(one.descriptor.digest)).toBe(one.descriptor.digest);
    expect((await call('DELETE', `${path}/t`)).status).toBe(202);
    expect((await call('HEAD', `${path}/t`)).status).toBe(404);
    expect(await digestOf(two.descriptor.digest)).toBe(two.descriptor.digest);
    const { layers } = JSON.parse(two.bytes.toString()) as { layers: { digest: string }[] };
    const blob = `/v2/rules/remove/blobs/${layers[0]?.digest}`;
    expect((await call('DELETE', blob)).status).toBe(405);
    expect((await call('DELETE', `${path}/${two.descriptor.digest}`)).status).toBe(202);
    expect((await call('GET', `${path}/${two.descriptor.digest}`)).status).toBe(404);
    expect((await call('DELETE', blob)).status).toBe(202);
    expect((await call('GET', blob)).status).toBe(404);
  });

  it('finds what refers to an image', async () => {
    const subject = await manifestIn('rules/refer');
    const artifact = await manifestIn('rules/refer', {
      artifactType: 'text/x-note',
      annotations: { note: 'hello' },
      subject: subject.descriptor,
    });
    const put = await putManifest(`/v2/rules/refer/manifests/${artifact.descriptor.digest}`, artifact.bytes);
    expect([put.status, put.headers.get('oci-subject')]).toEqual([201, subject.descriptor.digest]);
    const list = async (query = '') => {
      const response = await call('GET', `/v2/rules/refer/referrers/${subject.descriptor.digest}${query}`);
      expect(response.headers.get('content-type')).toBe(INDEX);
      return ((await response.json()) as { manifests: object[] }).manifests;
    };
    const { digest, size } = artifact.descriptor;
    const expected = {
      mediaType: MANIFEST,
      digest,
      size,
      artifactType: 'text/x-note',
      annotations: { note: 'hello' },
    };
    expect(await list()).toEqual([expected]);
    expect(await list('?artifactType=text/x-note')).toEqual([expected]);
    expect(await list('?artifactType=other')).toEqual([]);
    // It has no tag, and is no image, but stays.
    expect(await box.ok(['image', 'prune', '-f'])).toContain('Total reclaimed space');
    expect(await list()).toEqual([expected]);
  });

  it('keeps the collector from a push that is under way', async () => {
    const digest = await putBlob('rules/race', randomBytes(50));
    await box.ok(['pull', '-q', `${server.address}/other/box:v2`]);
    await box.ok(['rmi', `${server.address}/other/box:v2`]);
    expect((await call('HEAD', `/v2/rules/race/blobs/${digest}`)).status).toBe(200);
  });

  it('does not remove what the host has pulled', async () => {
    await box.ok(['tag', 'localhost/team/box:v1', 'mine/box:v1']);
    const response = await call('DELETE', '/v2/mine/box/manifests/v1');
    expect([response.status, await codeOf(response)]).toEqual([405, 'UNSUPPORTED']);
    expect(await box.ok(['images', '-q', 'mine/box'])).not.toBe('');
  });
});

describe('registry serve', () => {
  it('asks for a password, encrypts, and serves a layout that it makes', async () => {
    const [users, cert, key, ca] = ['users', 'cert.pem', 'key.pem', 'ca'].map((name) =>
      join(box.directory, name),
    );
    writeFileSync(users ?? '', `# people\nann:${hashSync('secret', 4)}\n`);
    writeFileSync(cert ?? '', SERVER_CERT);
    writeFileSync(key ?? '', SERVER_KEY);
    mkdirSync(ca ?? '');
    writeFileSync(join(ca ?? '', 'ca.crt'), AUTHORITY);
    const made = join(box.directory, 'made');
    const guarded = await serve([
      '--writable',
      '--layout',
      made,
      '--htpasswd',
      users ?? '',
      '--tls-cert',
      cert ?? '',
      '--tls-key',
      key ?? '',
    ]);
    try {
      expect(guarded.url).toMatch(/^https:/);
      const copy = (password: string) =>
        box.host([
          'skopeo',
          'copy',
          '--dest-creds',
          `ann:${password}`,
          '--dest-cert-dir',
          ca ?? '',
          `oci:${layout}:latest`,
          `docker://${guarded.address}/a/b:c`,
        ]);
      const refused = await copy('wrong');
      expect(refused.code).not.toBe(0);
      expect(refused.stderr).toMatch(/unauthorized|authentication required/i);
      const taken = await copy('secret');
      expect(taken.code, show(taken)).toBe(0);
      const inspected = await box.host([
        'skopeo',
        'inspect',
        '--format',
        '{{.Os}}',
        `oci:${made}:localhost/a/b:c`,
      ]);
      expect(inspected.stdout.trim(), show(inspected)).toBe('linux');
    } finally {
      await guarded.stop();
    }
  });

  it.each<[string, readonly string[], string]>([
    ['a directory that is no layout', ['--layout', '/tmp'], 'Cannot serve "/tmp": it is no OCI image layout'],
    ['a key without a certificate', ['--tls-key', '/x'], '--tls-cert and --tls-key need each other'],
    ['a password file that is not there', ['--htpasswd', '/none'], 'open /none: no such file or directory'],
    ['other passwords than bcrypt', ['--htpasswd', '/etc/passwd'], 'line 1 has no bcrypt password'],
  ])('refuses %s', async (_, args, message) => {
    const outcome = await box.run(['registry', 'serve', '--listen', '127.0.0.1:0', ...args]);
    expect(outcome.code).toBe(1);
    expect(outcome.stderr).toContain(message);
    expect(existsSync('/none')).toBe(false);
  });
});
