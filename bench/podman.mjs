import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { must } from './scratch.mjs';

/** Debian's podman with runc (crun 1.8 refuses hybrid cgroups), all state in the scratch directory. */
export function podman(space, registry) {
  mkdirSync(space.path('podman-home'), { recursive: true });
  writeFileSync(
    space.path('containers.conf'),
    '[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]\n[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\nruntime = "runc"\n',
  );
  writeFileSync(
    space.path('storage.conf'),
    `[storage]\ndriver = "overlay"\ngraphroot = "${space.path('podman')}"\nrunroot = "${space.path('podman-run')}"\n`,
  );
  writeFileSync(
    space.path('podman-registries.conf'),
    `[[registry]]\nlocation = "${registry}"\ninsecure = true\n`,
  );
  const env = {
    PATH: '/usr/sbin:/usr/bin:/sbin:/bin',
    HOME: space.path('podman-home'),
    CONTAINERS_CONF: space.path('containers.conf'),
    CONTAINERS_STORAGE_CONF: space.path('storage.conf'),
    CONTAINERS_REGISTRIES_CONF: space.path('podman-registries.conf'),
    XDG_RUNTIME_DIR: space.path('podman-run'),
  };
  const cli = '/usr/bin/podman';
  // The namespace's own policy file may be missing on a machine where podman was just installed.
  if (spawnSync('test', ['-e', '/etc/containers/policy.json']).status !== 0) {
    mkdirSync('/etc/containers', { recursive: true });
    writeFileSync('/etc/containers/policy.json', '{"default":[{"type":"insecureAcceptAnything"}]}');
  }
  const image = (name) => `${registry}/library/${name}`;
  return {
    name: 'podman',
    env,
    version: () => must(cli, ['--version'], { env }).trim(),
    pull: (name) => must(cli, ['pull', '-q', image(name)], { env }),
    forget: (name) => spawnSync(cli, ['rmi', '-f', image(name)], { env, stdio: 'ignore' }),
    push: (name, to) => must(cli, ['push', '-q', '--tls-verify=false', image(name), to], { env }),
    save: (name, file) => must(cli, ['save', '-q', '-o', file, image(name)], { env }),
    load: (file) => must(cli, ['load', '-q', '-i', file], { env }),
    daemons: [],
    processes: /^\S*podman /,
    true: (network) => must(cli, ['run', '--rm', '--network', network, image('busybox'), 'true'], { env }),
    sleeper: () => must(cli, ['run', '-d', image('busybox'), 'sleep', '1000'], { env }).trim(),
    remove: (id) => must(cli, ['rm', '-f', '-t', '0', id], { env }),
    overhead: /conmon/,
  };
}
