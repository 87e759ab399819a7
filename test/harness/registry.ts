import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** Debian's docker-registry (distribution) on loopback, with its data in a temporary directory. */
export interface RealRegistry {
  /** `127.0.0.1:port` */
  readonly address: string;
  /** Puts an image of an OCI layout directory into `repository:tag`, with the digests that it has there. */
  push(layout: string, repository: string, tag: string): Promise<void>;
  stop(): Promise<void>;
}

export async function startRegistry(): Promise<RealRegistry> {
  const directory = mkdtempSync(join(tmpdir(), 'tinyrun-registry-'));
  const port = await freePort();
  const config = join(directory, 'config.yml');
  writeFileSync(
    config,
    `version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: ${directory}/data}, delete: {enabled: true}}\nhttp: {addr: "127.0.0.1:${port}", relativeurls: true}\n`,
  );
  const server = spawn('docker-registry', ['serve', config], { stdio: 'ignore' });
  const address = `127.0.0.1:${port}`;
  try {
    await answering(`http://${address}/v2/`, server);
  } catch (error) {
    server.kill('SIGKILL');
    rmSync(directory, { recursive: true, force: true });
    throw error;
  }
  return {
    address,
    push: (layout, repository, tag) => pushLayout(`http://${address}/v2/${repository}`, layout, tag),
    async stop() {
      const ended = new Promise((resolve) => server.once('close', resolve));
      server.kill('SIGKILL');
      await ended;
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** A port that was free a moment ago. */
export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}

async function answering(url: string, server: ChildProcess): Promise<void> {
  for (let attempt = 0; attempt < 100; attempt += 1) {
    if (server.exitCode !== null) throw new Error(`docker-registry ended with ${server.exitCode}`);
    try {
      if ((await fetch(url)).ok) return;
    } catch {
      // Not listening yet.
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`docker-registry does not answer at ${url}`);
}

interface Node {
  readonly mediaType: string;
  readonly digest: string;
  readonly manifests?: readonly Node[];
  readonly config?: Node;
  readonly layers?: readonly Node[];
}

export async function pushLayout(repository: string, layout: string, tag: string): Promise<void> {
  const blob = (digest: string): Buffer =>
    readFileSync(join(layout, 'blobs', 'sha256', digest.replace('sha256:', '')));
  const index = JSON.parse(readFileSync(join(layout, 'index.json'), 'utf8')) as {
    manifests: readonly Node[];
  };
  const [target] = index.manifests;
  if (target === undefined) throw new Error(`${layout}: the index is empty`);
  const putManifest = async (node: Node, name: string): Promise<void> => {
    const bytes = blob(node.digest);
    const content = JSON.parse(bytes.toString()) as Node;
    for (const child of content.manifests ?? []) await putManifest(child, child.digest);
    for (const part of [content.config, ...(content.layers ?? [])]) {
      if (part !== undefined) await putBlob(repository, blob(part.digest));
    }
    const mediaType = content.mediaType ?? node.mediaType;
    const response = await fetch(`${repository}/manifests/${name}`, {
      method: 'PUT',
      headers: { 'content-type': mediaType },
      body: new Uint8Array(bytes),
    });
    if (!response.ok) throw new Error(`PUT manifest ${name}: ${response.status} ${await response.text()}`);
  };
  await putManifest(target, tag);
}

async function putBlob(repository: string, bytes: Buffer): Promise<void> {
  const digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  if ((await fetch(`${repository}/blobs/${digest}`, { method: 'HEAD' })).ok) return;
  const start = await fetch(`${repository}/blobs/uploads/`, { method: 'POST' });
  if (!start.ok) throw new Error(`POST upload: ${start.status} ${await start.text()}`);
  const location = new URL(start.headers.get('location') ?? '', repository);
  location.searchParams.set('digest', digest);
  const response = await fetch(location, {
    method: 'PUT',
    headers: { 'content-type': 'application/octet-stream' },
    body: new Uint8Array(bytes),
  });
  if (!response.ok) throw new Error(`PUT blob ${digest}: ${response.status} ${await response.text()}`);
}
