import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { parseDigest } from '../../../src/oci/digest.ts';
import { openPusher, type Pusher } from '../../../src/registry/push-client.ts';
import { parseReference } from '../../../src/registry/reference.ts';

/** The upload side of a registry, which can be told to misbehave. */
class UploadRegistry {
  readonly #server: Server;
  readonly blobs = new Map<string, Buffer>();
  readonly requests: string[] = [];
  received = 0;
  /** Cuts the connection after so many bytes of a request, so many times; what came before is kept. */
  cut = { after: 0, times: 0 };
  forgets = 0;
  refuses = 0;
  tellsRange = true;
  #upload = Buffer.alloc(0);
  #uploads = 0;

  constructor() {
    this.#server = createServer((request, response) => void this.#serve(request, response));
  }

  async listen(): Promise<string> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    return `127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  close(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://registry');
    const { method = '' } = request;
    if (url.pathname !== '/v2/') this.requests.push(`${method} ${url.pathname.replace('/v2/my/app/', '')}`);
    const location = `/v2/my/app/blobs/uploads/${this.#uploads}?state=x`;
    const reply = (status: number, headers: Record<string, string> = {}, body?: string) => {
      response.writeHead(status, { 'content-length': String(body?.length ?? 0), ...headers });
      response.end(body);
    };
    if (url.pathname === '/v2/') return reply(200);
    if (this.refuses > 0 && method !== 'GET') {
      this.refuses -= 1;
      return reply(503, { 'retry-after': '0' });
    }
    if (method === 'POST') {
      this.#upload = Buffer.alloc(0);
      this.#uploads += 1;
      return reply(202, { location: `/v2/my/app/blobs/uploads/${this.#uploads}?state=x` });
    }
    if (method === 'GET') {
      if (this.forgets > 0) {
        this.forgets -= 1;
        return reply(404, {}, JSON.stringify({ errors: [{ code: 'BLOB_UPLOAD_UNKNOWN', message: 'gone' }] }));
      }
      return reply(204, { location, range: `0-${this.#upload.length - 1}` });
    }
    const from = /^(\d+)-/.exec(request.headers['content-range'] ?? '')?.[1];
    if (from !== undefined && Number(from) !== this.#upload.length) return reply(416, { location });
    if (!(await this.#take(request))) return;
    if (method === 'PATCH')
      return reply(202, { location, ...(this.tellsRange ? { range: `0-${this.#upload.length - 1}` } : {}) });
    const digest = url.searchParams.get('digest') ?? '';
    if (digest !== digestOf(this.#upload)) {
      return reply(400, {}, JSON.stringify({ errors: [{ code: 'DIGEST_INVALID', message: 'no' }] }));
    }
    this.blobs.set(digest, this.#upload);
    reply(201, { location: '/' });
  }

  async #take(request: IncomingMessage): Promise<boolean> {
    let length = 0;
    for await (const chunk of request as AsyncIterable<Buffer>) {
      length += chunk.length;
      this.received += chunk.length;
      this.#upload = Buffer.concat([this.#upload, chunk]);
      if (this.cut.times > 0 && length >= this.cut.after) {
        this.cut = { ...this.cut, times: this.cut.times - 1 };
        request.socket.destroy();
        return false;
      }
    }
    return true;
  }
}

const digestOf = (bytes: Buffer) => parseDigest(`sha256:${createHash('sha256').update(bytes).digest('hex')}`);

let registry: UploadRegistry;
let pusher: Pusher;
beforeEach(async () => {
  registry = new UploadRegistry();
  pusher = openPusher(parseReference(`${await registry.listen()}/my/app`), {
    env: {},
    registriesConf: [],
    dockerConfigDir: '/nowhere',
    chunkSize: 1 << 20,
    retry: { base: 1, longest: 2 },
  });
});
afterEach(() => {
  pusher.close();
  registry.close();
});

async function upload(bytes: Buffer): Promise<number[]> {
  const progress: number[] = [];
  await pusher.upload(
    { mediaType: '', digest: digestOf(bytes), size: bytes.length },
    async function* (first, last) {
      for (let at = first; at <= last; at += 64 << 10)
        yield bytes.subarray(at, Math.min(at + (64 << 10), last + 1));
    },
    (current) => progress.push(current),
  );
  expect(registry.blobs.get(digestOf(bytes))?.equals(bytes)).toBe(true);
  return progress;
}

const noise = (size: number) =>
  Buffer.from(Array.from({ length: size }, (_, at) => (at * 31 + (at >> 8)) & 255));
const large = noise(3_500_000);

test('upload() sends a small blob in one request, an empty one too', async () => {
  await upload(noise(1000));
  expect(registry.requests).toEqual(['POST blobs/uploads/', 'PUT blobs/uploads/1']);
  await upload(Buffer.alloc(0));
});

test('upload() sends a large blob in pieces, whether or not the registry says how far it is', async () => {
  const progress = await upload(large);
  expect(registry.requests.map((one) => one.split(' ')[0])).toEqual([
    'POST',
    'PATCH',
    'PATCH',
    'PATCH',
    'PATCH',
    'PUT',
  ]);
  expect(progress.at(-1)).toBe(large.length);
  registry.tellsRange = false;
  await upload(noise(2_200_000));
});

test('upload() goes on where the registry is after a connection broke off, again and again', async () => {
  registry.cut = { after: 300_000, times: 8 };
  await upload(large);
  expect(registry.requests.filter((one) => one.startsWith('POST'))).toHaveLength(1);
  expect(registry.received).toBe(large.length);
});

test('upload() begins anew where the registry forgot the upload, and waits for one that is busy', async () => {
  registry.cut = { after: 300_000, times: 1 };
  registry.forgets = 1;
  registry.refuses = 2;
  await upload(large);
  expect(registry.requests.filter((one) => one.startsWith('POST')).length).toBeGreaterThan(1);
});

test('upload() of bytes that are not the blob ends with the registry’s word', async () => {
  const bytes = noise(1000);
  const wrong = pusher.upload(
    { mediaType: '', digest: digestOf(bytes), size: 1000 },
    async function* () {
      yield Buffer.alloc(1000);
    },
    () => {},
  );
  await expect(wrong).rejects.toThrow('DIGEST_INVALID');
});

test('upload() gives up where nothing ever gets through', async () => {
  registry.cut = { after: 1, times: 1000 };
  registry.forgets = 1000;
  await expect(upload(noise(1000))).rejects.toThrow(/connection|ended early/);
  expect(registry.requests.filter((one) => one.startsWith('PUT'))).toHaveLength(5);
});
