/**
 * The main job on a fresh machine: a busybox image made from this host's static busybox, served by tinyrun's own registry
 * on loopback, pulled, run with limits, its port published. Everything lies in a temporary store and is gone afterwards.
 */
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { get } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { pack } from 'tar-stream';
import { serveLayout } from '../dist/engine.js';

const BINARY = join(dirname(fileURLToPath(import.meta.url)), '..', 'bin', 'tinyrun');
const BUSYBOX = ['/bin/busybox', '/usr/bin/busybox', '/bin/busybox.static', '/sbin/busybox'].find(existsSync);

if (process.getuid() !== 0) fail('the demo needs root (rootless use is not there yet)');
if (BUSYBOX === undefined) fail('no static busybox here; install busybox-static');

const directory = mkdtempSync(join(tmpdir(), 'tinyrun-demo-'));
const layout = join(directory, 'layout');
await makeLayout(layout);
const registry = await serveLayout({ layouts: { 'library/busybox': layout }, host: '127.0.0.1', port: 0 });
const address = new URL(registry.url).host;
writeFileSync(
  join(directory, 'registries.conf'),
  `[[registry]]\nprefix = "docker.io"\nlocation = "${address}"\ninsecure = true\n`,
);
const env = {
  ...process.env,
  TINYRUN_ROOT: join(directory, 'root'),
  TINYRUN_RUNROOT: join(directory, 'run'),
  CONTAINERS_REGISTRIES_CONF: join(directory, 'registries.conf'),
};

try {
  console.log(
    `A registry with a busybox image listens on ${address}; docker.io is mapped to it for this demo.`,
  );
  await tinyrun('pull', 'busybox');
  await tinyrun('run', 'busybox', 'echo', 'hello');
  const limits = ['-m', '64m', '--cpus', '0.5', '--pids-limit', '100'];
  await tinyrun('run', '--rm', ...limits, 'busybox', 'sh', '-c', showLimits());
  const answer =
    'while :; do printf "HTTP/1.0 200 OK\\r\\n\\r\\nYou\'ve hit $(hostname)\\n" | nc -l -p 8080; done';
  await tinyrun(
    'run',
    '-d',
    '--name',
    'kubia',
    ...limits,
    '-p',
    '127.0.0.1::8080',
    'busybox',
    'sh',
    '-c',
    answer,
  );
  const port = (await output('ps', '--format', '{{.Ports}}')).match(/:(\d+)->/)?.[1];
  console.log(`$ curl http://127.0.0.1:${port}\n${(await body(`http://127.0.0.1:${port}/`)).trim()}`);
  await tinyrun('ps');
  await tinyrun('rm', '-f', 'kubia');
} finally {
  await registry.close();
  spawnSync(BINARY, ['system', 'reset', '-f'], { env, stdio: 'ignore' });
  rmSync(directory, { recursive: true, force: true });
}

/** What the container sees of its limits, on cgroup v1 and v2. */
function showLimits() {
  return 'id; cd /sys/fs/cgroup; for f in memory.max memory/memory.limit_in_bytes cpu.max cpu/cpu.cfs_quota_us pids.max pids/pids.max; do [ -e $f ] && echo "$f: $(cat $f)"; done; true';
}

async function tinyrun(...args) {
  console.log(`$ tinyrun ${args.map((word) => (/[^\w./:=,-]/.test(word) ? `'${word}'` : word)).join(' ')}`);
  const code = await new Promise((resolve) =>
    spawn(BINARY, args, { env, stdio: ['ignore', 'inherit', 'inherit'] }).once('close', resolve),
  );
  if (code !== 0) throw new Error(`tinyrun ${args[0]}: exit ${code}`);
}

async function output(...args) {
  const child = spawn(BINARY, args, { env, stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.on('data', (chunk) => {
    text += chunk;
  });
  await new Promise((resolve) => child.once('close', resolve));
  return text;
}

async function body(url) {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await new Promise((resolve, reject) => {
        get(url, (response) => {
          let text = '';
          response.on('data', (chunk) => {
            text += chunk;
          });
          response.on('end', () => resolve(text));
          response.on('error', reject);
        }).on('error', reject);
      });
    } catch (error) {
      if (attempt > 30) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

async function makeLayout(target) {
  const blobs = join(target, 'blobs', 'sha256');
  mkdirSync(blobs, { recursive: true });
  const put = (bytes, mediaType) => {
    const hex = createHash('sha256').update(bytes).digest('hex');
    writeFileSync(join(blobs, hex), bytes);
    return { mediaType, digest: `sha256:${hex}`, size: bytes.length };
  };
  const tar = await rootfs();
  const layer = put(gzipSync(tar), 'application/vnd.oci.image.layer.v1.tar+gzip');
  const config = {
    architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
    os: 'linux',
    config: { Cmd: ['sh'], Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'] },
    rootfs: { type: 'layers', diff_ids: [`sha256:${createHash('sha256').update(tar).digest('hex')}`] },
  };
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const configBlob = put(Buffer.from(JSON.stringify(config)), 'application/vnd.oci.image.config.v1+json');
  const manifest = put(
    Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, config: configBlob, layers: [layer] })),
    mediaType,
  );
  const annotations = { 'org.opencontainers.image.ref.name': 'latest' };
  writeFileSync(join(target, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  writeFileSync(
    join(target, 'index.json'),
    JSON.stringify({ schemaVersion: 2, manifests: [{ ...manifest, annotations }] }),
  );
}

async function rootfs() {
  const tar = pack();
  for (const name of ['bin', 'dev', 'etc', 'proc', 'root', 'sys', 'tmp'])
    tar.entry({ name: `${name}/`, type: 'directory' });
  tar.entry({ name: 'bin/busybox', mode: 0o755 }, readFileSync(BUSYBOX));
  const applets = spawnSync(BUSYBOX, ['--list'], { encoding: 'utf8' })
    .stdout.split('\n')
    .filter((name) => /^[a-z]/.test(name));
  for (const name of applets) {
    if (name !== 'busybox') tar.entry({ name: `bin/${name}`, type: 'link', linkname: 'bin/busybox' });
  }
  tar.entry({ name: 'etc/passwd' }, 'root:x:0:0:root:/root:/bin/sh\n');
  tar.entry({ name: 'etc/group' }, 'root:x:0:\n');
  tar.finalize();
  const chunks = [];
  for await (const chunk of tar) chunks.push(chunk);
  return Buffer.concat(chunks);
}

function fail(message) {
  console.error(`demo: ${message}`);
  process.exit(1);
}
