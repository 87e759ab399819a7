import { spawnSync } from 'node:child_process';
import { must } from './scratch.mjs';

const ACCEPT = 'application/vnd.docker.distribution.manifest.v2+json';

/** `curl | igzip | tar`, layer after layer: what a pull with no checks, no store and no safety costs. */
export async function rawPull(space, registry, name) {
  const base = `http://${registry}/v2/library/${name}`;
  const response = await fetch(`${base}/manifests/latest`, { headers: { accept: ACCEPT } });
  const { layers } = await response.json();
  const target = space.path('raw');
  const gunzip = spawnSync('sh', ['-c', 'command -v igzip']).status === 0 ? 'igzip' : 'gzip';
  const steps = layers.map(
    ({ digest }, at) =>
      `mkdir -p ${target}/${at} && curl -fs ${base}/blobs/${digest} | ${gunzip} -dc | tar -xC ${target}/${at}`,
  );
  return {
    name: `curl \\| ${gunzip} \\| tar`,
    before: () => must('rm', ['-rf', target]),
    once: () => must('sh', ['-c', steps.join(' && ')]),
  };
}
