import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { must } from './scratch.mjs';

/** Debian's dockerd with a containerd of its own, all state in the scratch directory. */
export async function docker(space, registry) {
  const host = `unix://${space.path('docker.sock')}`;
  const containerd = space.path('containerd.sock');
  mkdirSync(space.path('docker-home'), { recursive: true });
  writeFileSync(
    space.path('containerd.toml'),
    `version = 2\nroot = "${space.path('containerd')}"\nstate = "${space.path('containerd-run')}"\n[grpc]\naddress = "${containerd}"\n`,
  );
  const env = {
    PATH: `${legacyIptables(space)}:/usr/sbin:/usr/bin:/sbin:/bin`,
    HOME: space.path('docker-home'),
    DOCKER_HOST: host,
  };
  const store = space.daemon('containerd', ['--config', space.path('containerd.toml')], { env });
  for (let i = 0; i < 100 && spawnSync('test', ['-S', containerd]).status !== 0; i += 1)
    spawnSync('sleep', ['0.1']);
  const daemon = space.daemon(
    '/usr/sbin/dockerd',
    [
      '--containerd',
      containerd,
      '--data-root',
      space.path('docker'),
      '--exec-root',
      space.path('docker-run'),
      '--pidfile',
      space.path('docker.pid'),
      '-H',
      host,
      '--default-ulimit',
      'nofile=1024:1024',
    ],
    { env },
  );
  const cli = '/usr/bin/docker';
  for (let i = 0; spawnSync(cli, ['info'], { env, stdio: 'ignore' }).status !== 0; i += 1) {
    if (i > 150) throw new Error('dockerd does not start');
    spawnSync('sleep', ['0.2']);
  }
  const image = (name) => `${registry}/library/${name}`;
  return {
    name: 'docker',
    env,
    version: () => `docker ${must(cli, ['version', '--format', '{{.Server.Version}}'], { env }).trim()}`,
    pull: (name) => must(cli, ['pull', '-q', image(name)], { env }),
    forget: (name) => spawnSync(cli, ['rmi', '-f', image(name)], { env, stdio: 'ignore' }),
    push: (name, to) => {
      must(cli, ['tag', image(name), to], { env });
      must(cli, ['push', '-q', to], { env });
    },
    save: (name, file) => must(cli, ['save', '-o', file, image(name)], { env }),
    load: (file) => must(cli, ['load', '-q', '-i', file], { env }),
    daemons: [store.pid, daemon.pid],
    processes: /^\S*(docker|dockerd|docker-untar|docker-applyLayer|containerd|unpigz) /,
    true: (network) => must(cli, ['run', '--rm', '--network', network, image('busybox'), 'true'], { env }),
    sleeper: () => must(cli, ['run', '-d', image('busybox'), 'sleep', '1000'], { env }).trim(),
    remove: (id) => must(cli, ['rm', '-f', id], { env }),
    overhead: /containerd-shim|docker-proxy/,
  };
}

/** dockerd 20.10 wants iptables; the legacy one works on kernels without every nf_tables compatibility module. */
function legacyIptables(space) {
  const directory = space.path('iptables');
  mkdirSync(directory, { recursive: true });
  for (const name of ['iptables', 'ip6tables']) {
    spawnSync('ln', ['-sf', `/usr/sbin/${name}-legacy`, `${directory}/${name}`]);
  }
  return directory;
}
