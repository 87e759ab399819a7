import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { must } from './scratch.mjs';

const LAYER = 'application/vnd.docker.image.rootfs.diff.tar.gzip';
const CONFIG = 'application/vnd.docker.container.image.v1+json';
const MANIFEST = 'application/vnd.docker.distribution.manifest.v2+json';

/**
 * Debian's registry on loopback with `library/busybox` and, where `large`, `library/app`: a Debian base, node, and six
 * layers of npm trees (some 30,000 small files).
 * @returns the registry's `host:port`
 */
export async function images(space, { large }) {
  const address = '127.0.0.1:5055';
  const config = space.path('registry.yml');
  writeFileSync(
    config,
    `version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: ${space.path('registry')}}}\nhttp: {addr: "${address}", relativeurls: true}\n`,
  );
  space.daemon('docker-registry', ['serve', config]);
  const base = `http://${address}/v2`;
  for (let i = 0; ; i += 1) {
    try {
      if ((await fetch(`${base}/`)).ok) break;
    } catch {
      if (i > 100) throw new Error('docker-registry does not start');
      spawnSync('sleep', ['0.1']);
    }
  }
  await push(base, 'library/busybox', [busyboxLayer(space)], ['sh']);
  if (large) await push(base, 'library/app', appLayers(space), ['node']);
  return address;
}

function busyboxLayer(space) {
  const root = space.path('busybox');
  mkdirSync(`${root}/bin`, { recursive: true });
  for (const name of ['etc', 'tmp', 'root', 'proc', 'sys', 'dev'])
    mkdirSync(`${root}/${name}`, { recursive: true });
  copyFileSync('/bin/busybox', `${root}/bin/busybox`);
  for (const applet of ['sh', 'true', 'sleep', 'echo', 'cat'])
    must('ln', ['-f', `${root}/bin/busybox`, `${root}/bin/${applet}`]);
  writeFileSync(`${root}/etc/passwd`, 'root:x:0:0:root:/root:/bin/sh\n');
  writeFileSync(`${root}/etc/group`, 'root:x:0:\n');
  return tarOf(space, 'busybox', root, []);
}

function appLayers(space) {
  const debian = space.path('debian.tar');
  copyFileSync(process.env.BENCH_DEBIAN, debian);
  const layers = [debian];
  const node = space.path('node');
  mkdirSync(`${node}/usr/local/bin`, { recursive: true });
  copyFileSync(process.execPath, `${node}/usr/local/bin/node`);
  layers.push(tarOf(space, 'node', node, []));
  const npm = must('npm', ['root', '-g']).trim();
  for (let layer = 0; layer < 6; layer += 1) {
    const tree = space.path(`tree${layer}`);
    for (const copy of ['a', 'b', 'c']) {
      const target = `${tree}/app/${layer}${copy}`;
      mkdirSync(target, { recursive: true });
      must('cp', ['-r', `${npm}/npm`, target]);
    }
    layers.push(tarOf(space, `tree${layer}`, tree, []));
    must('rm', ['-rf', tree]);
  }
  return layers;
}

function tarOf(space, name, root, more) {
  const file = space.path(`${name}.tar`);
  must('tar', ['-C', root, '--owner=0', '--group=0', '--sort=name', '-cf', file, ...more, '.']);
  return file;
}

async function push(base, repository, tars, cmd) {
  const layers = [];
  const diffIds = [];
  for (const file of tars) {
    const tar = readFileSync(file);
    diffIds.push(digestOf(tar));
    layers.push(await putBlob(base, repository, gzipSync(tar, { level: 6 }), LAYER));
    must('rm', ['-f', file]);
  }
  const config = {
    architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
    os: 'linux',
    config: { Cmd: cmd, Env: ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'] },
    rootfs: { type: 'layers', diff_ids: diffIds },
    history: diffIds.map(() => ({ created_by: 'bench' })),
  };
  const configBlob = await putBlob(base, repository, Buffer.from(JSON.stringify(config)), CONFIG);
  const manifest = { schemaVersion: 2, mediaType: MANIFEST, config: configBlob, layers };
  const response = await fetch(`${base}/${repository}/manifests/latest`, {
    method: 'PUT',
    headers: { 'content-type': MANIFEST },
    body: JSON.stringify(manifest),
  });
  if (!response.ok) throw new Error(`PUT ${repository}: ${response.status}`);
}

async function putBlob(base, repository, bytes, mediaType) {
  const digest = digestOf(bytes);
  const start = await fetch(`${base}/${repository}/blobs/uploads/`, { method: 'POST' });
  const location = new URL(start.headers.get('location'), base);
  location.searchParams.set('digest', digest);
  const response = await fetch(location, {
    method: 'PUT',
    headers: { 'content-type': 'application/octet-stream' },
    body: bytes,
  });
  if (!response.ok) throw new Error(`PUT blob: ${response.status}`);
  return { mediaType, digest, size: bytes.length };
}

function digestOf(bytes) {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}
