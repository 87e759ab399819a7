import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { must } from './scratch.mjs';

const BINARY = join(dirname(fileURLToPath(import.meta.url)), '..', 'bin', 'tinyrun');

export function tinyrun(space, registry) {
  const conf = space.path('registries.conf');
  mkdirSync(space.path('tinyrun-home'), { recursive: true });
  writeFileSync(conf, `[[registry]]\nprefix = "docker.io"\nlocation = "${registry}"\ninsecure = true\n`);
  const env = {
    PATH: process.env.PATH,
    HOME: space.path('tinyrun-home'),
    TINYRUN_ROOT: space.path('tinyrun'),
    TINYRUN_RUNROOT: space.path('tinyrun-run'),
    CONTAINERS_REGISTRIES_CONF: conf,
  };
  // The launcher takes this out of Node's way; the yardstick `node -e 0` must not pay for it either.
  const quiet = { env, stdio: 'ignore' };
  space.defer(() => spawnSync(BINARY, ['system', 'reset', '-f'], quiet));
  return {
    name: 'tinyrun',
    env,
    version: () => must(BINARY, ['--version'], { env }).trim(),
    pull: (name) => must(BINARY, ['pull', '-q', name], { env }),
    forget: (name) => spawnSync(BINARY, ['rmi', '-f', name], quiet),
    push: (name, to) => {
      must(BINARY, ['tag', name, to], { env });
      must(BINARY, ['push', '-q', to], { env });
    },
    save: (name, file) => must(BINARY, ['save', '-o', file, name], { env }),
    load: (file) => must(BINARY, ['load', '-q', '-i', file], { env }),
    /** None of its processes lives longer than the command. */
    daemons: [],
    processes: /^\S*node .*\/(load|tinyrun)\.cjs |^\S*tinyrun-unpack /,
    true: (network) => must(BINARY, ['run', '--rm', '--network', network, 'busybox', 'true'], { env }),
    sleeper: () => must(BINARY, ['run', '-d', 'busybox', 'sleep', '1000'], { env }).trim(),
    remove: (id) => must(BINARY, ['rm', '-f', id], { env }),
    /** The processes that exist because of a container, its own program left out. */
    overhead: /^tinyrun[:-]/,
  };
}
