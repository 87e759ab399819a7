import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Descriptor } from '../../src/oci/image-spec.ts';
import { type Content, describeBytes, type Fault, type SendHow, send } from './faulty-answers.ts';

export { describeBytes, type Fault };

export interface FaultRule {
  /** Which requests: part of `METHOD path`. */
  readonly on: string | RegExp;
  readonly fault: Fault;
  /** How many requests are hit; default all. */
  readonly times?: number;
}

export interface SeenRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

export interface AuthRule {
  readonly type: 'basic' | 'bearer';
  readonly username?: string;
  readonly password?: string;
  readonly refreshToken?: string;
  /** Seconds. */
  readonly expiresIn?: number;
  /** In place of the registry's own `/token`. */
  readonly realm?: string;
  /** In place of the whole header. */
  readonly challenge?: string | string[];
  /** No token is ever good enough. */
  readonly never?: boolean;
}

/** A registry in this process that can be told to misbehave. Everything is public: `seen` is what clients sent. */
export interface FaultyRegistry {
  readonly url: string;
  /** `127.0.0.1:<port>`. */
  readonly host: string;
  readonly seen: SeenRequest[];
  /** Bytes of answers that went into sockets, by path; whole answers and slow ones only. */
  readonly sent: Map<string, number>;
  faults: FaultRule[];
  auth: AuthRule | undefined;
  addBlob(bytes: Uint8Array, mediaType?: string): Descriptor;
  addManifest(repository: string, tag: string, bytes: Uint8Array | string, mediaType: string): Descriptor;
  /** A whole image of one layer; returns its parts. */
  addImage(
    repository: string,
    tag: string,
    layer: Uint8Array,
  ): { manifest: Descriptor; config: Descriptor; layer: Descriptor };
  /** Requests whose `METHOD path` contains this. */
  count(text: string): number;
  /** Cuts every connection that is open now. */
  cut(): void;
  /** Makes the tokens given out so far worthless. */
  revokeTokens(): void;
  close(): Promise<void>;
}

export async function startFaultyRegistry(): Promise<FaultyRegistry> {
  const blobs = new Map<string, Content>();
  const manifests = new Map<string, Content>();
  const hits = new Map<FaultRule, number>();
  const tokens = new Set<string>();
  const server = createServer((request, response) => void handle(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;

  const registry: FaultyRegistry = {
    url: `http://${host}`,
    host,
    seen: [],
    sent: new Map(),
    faults: [],
    auth: undefined,
    addBlob(bytes, mediaType = 'application/octet-stream') {
      const descriptor = describeBytes(bytes, mediaType);
      blobs.set(descriptor.digest, { bytes, mediaType });
      return descriptor;
    },
    addManifest(repository, tag, content, mediaType) {
      const bytes = typeof content === 'string' ? new TextEncoder().encode(content) : content;
      const descriptor = describeBytes(bytes, mediaType);
      manifests.set(`${repository}:${tag}`, { bytes, mediaType });
      manifests.set(`${repository}:${descriptor.digest}`, { bytes, mediaType });
      return descriptor;
    },
    addImage: (repository, tag, layer) => addImage(registry, repository, tag, layer),
    count: (text) => registry.seen.filter(({ method, path }) => `${method} ${path}`.includes(text)).length,
    cut: () => server.closeAllConnections(),
    revokeTokens: () => tokens.clear(),
    close: () => closeServer(server),
  };

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const path = request.url ?? '';
    let body = '';
    for await (const chunk of request) body += String(chunk);
    registry.seen.push({ method: request.method ?? '', path, headers: request.headers, body });
    const fault = nextFault(registry, hits, `${request.method} ${path}`);
    const reply = (content: Content, how: Omit<SendHow, 'fault'>): void =>
      send(request, response, content, {
        ...how,
        fault,
        onSent: (bytes) => registry.sent.set(path, (registry.sent.get(path) ?? 0) + bytes),
      });
    if (path.startsWith('/token')) {
      const token = giveToken(registry, tokens, request, body);
      reply(token ?? json({ details: 'incorrect username or password' }), {
        status: token === undefined ? 401 : 200,
      });
    } else if (!isAllowed(registry, tokens, request) && fault?.type !== 'redirect') {
      const refusal = json({ errors: [{ code: 'UNAUTHORIZED', message: 'authentication required' }] });
      reply(refusal, { status: 401, headers: { 'www-authenticate': challenge(registry, path) } });
    } else {
      const found = content(path.replace(/\?.*/, ''), blobs, manifests);
      const code = path.includes('/blobs/') ? 'BLOB_UNKNOWN' : 'MANIFEST_UNKNOWN';
      reply(found ?? json({ errors: [{ code, message: 'not here' }] }), {
        status: found === undefined ? 404 : 200,
      });
    }
  }
  return registry;
}

/** The fault for a request, counted against its rule. */
function nextFault(
  { faults }: FaultyRegistry,
  hits: Map<FaultRule, number>,
  text: string,
): Fault | undefined {
  const isLeft = (rule: FaultRule): boolean =>
    (hits.get(rule) ?? 0) < (rule.times ?? Number.POSITIVE_INFINITY);
  const rule = faults.find((one) => matches(one, text) && isLeft(one));
  if (rule !== undefined) hits.set(rule, (hits.get(rule) ?? 0) + 1);
  return rule?.fault;
}

function matches({ on }: FaultRule, text: string): boolean {
  return typeof on === 'string' ? text.includes(on) : on.test(text);
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}

function json(value: unknown): Content {
  return { bytes: Buffer.from(JSON.stringify(value)), mediaType: 'application/json' };
}

function addImage(
  registry: FaultyRegistry,
  repository: string,
  tag: string,
  bytes: Uint8Array,
): { manifest: Descriptor; config: Descriptor; layer: Descriptor } {
  const layer = registry.addBlob(bytes, 'application/vnd.oci.image.layer.v1.tar');
  const config = registry.addBlob(
    json({
      architecture: 'amd64',
      os: 'linux',
      config: {},
      rootfs: { type: 'layers', diff_ids: [layer.digest] },
    }).bytes,
    'application/vnd.oci.image.config.v1+json',
  );
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const text = JSON.stringify({ schemaVersion: 2, mediaType, config, layers: [layer] });
  return { manifest: registry.addManifest(repository, tag, text, mediaType), config, layer };
}

function content(
  path: string,
  blobs: Map<string, Content>,
  manifests: Map<string, Content>,
): Content | undefined {
  if (path === '/v2/') return json({});
  const match = /^\/v2\/(.+)\/(manifests|blobs)\/([^/?]+)$/.exec(path);
  const [, repository = '', kind, name = ''] = match ?? [];
  return kind === 'blobs' ? blobs.get(name) : manifests.get(`${repository}:${name}`);
}

function challenge({ auth, url }: FaultyRegistry, path: string): string | string[] {
  if (auth?.challenge !== undefined) return auth.challenge;
  if (auth?.type === 'basic') return 'Basic realm="test"';
  const repository = /^\/v2\/(.+)\/(manifests|blobs|tags)\//.exec(path)?.[1];
  const scope = repository === undefined ? '' : `,scope="repository:${repository}:pull"`;
  return `Bearer realm="${auth?.realm ?? `${url}/token`}",service="test"${scope}`;
}

function isAllowed({ auth }: FaultyRegistry, tokens: Set<string>, request: IncomingMessage): boolean {
  if (auth === undefined) return true;
  if (auth.never === true) return false;
  const header = request.headers.authorization ?? '';
  if (auth.type === 'bearer') return tokens.has(header.replace(/^Bearer /, ''));
  return header === basic(auth);
}

function basic({ username, password }: AuthRule): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}

function giveToken(
  { auth }: FaultyRegistry,
  tokens: Set<string>,
  request: IncomingMessage,
  body: string,
): Content | undefined {
  const isRefused =
    auth?.refreshToken !== undefined
      ? new URLSearchParams(body).get('refresh_token') !== auth.refreshToken
      : auth?.username !== undefined && request.headers.authorization !== basic(auth);
  if (isRefused) return undefined;
  const token = `token-${tokens.size}-${Math.random().toString(36).slice(2)}`;
  tokens.add(token);
  return json({ token, expires_in: auth?.expiresIn ?? 300 });
}
