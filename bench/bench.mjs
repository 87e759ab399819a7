/**
 * Paired comparison with the peers: each round runs every engine once, one after the other, and the figure is the median
 * of the rounds' ratios, so that the machine's own noise cancels out. Started by run.sh, in namespaces of its own.
 */
import { spawnSync } from 'node:child_process';
import { cpus, totalmem } from 'node:os';
import { docker } from './docker.mjs';
import { images } from './images.mjs';
import { memoryTable } from './memory.mjs';
import { podman } from './podman.mjs';
import { markdown, measure } from './rounds.mjs';
import { scratch } from './scratch.mjs';
import { tinyrun } from './tinyrun.mjs';

const flags = process.argv.slice(2);
const rounds = Number(flags[flags.indexOf('--rounds') + 1] ?? 0) || 15;
const wanted = flags.filter((flag) => /^[a-z]+$/.test(flag));
const want = (name) => wanted.length === 0 || wanted.includes(name);

const space = scratch();
try {
  const registry = await images(space, { large: want('pull') });
  const ours = tinyrun(space, registry);
  const peers = [await docker(space, registry), podman(space, registry)];
  const engines = [ours, ...peers];
  for (const engine of engines) engine.pull('busybox');
  console.log(
    `${cpus()[0]?.model.trim()}, ${cpus().length} cores, ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${kernel()}, Node ${process.version}`,
  );
  console.log(engines.map((engine) => engine.version()).join('; '));

  if (want('start')) {
    const node = { name: 'node -e 0', once: () => run(process.execPath, ['-e', '0'], ours.env) };
    for (const network of ['bridge', 'none']) {
      const competitors = engines.map((engine) => ({ name: engine.name, once: () => engine.true(network) }));
      const rows = measure([...competitors, node], rounds);
      console.log(markdown(`run --rm busybox true, network ${network}`, rows));
    }
  }
  if (want('pull')) {
    const rows = measure(
      engines.map((engine) => ({
        name: engine.name,
        before: () => engine.forget('app'),
        once: () => engine.pull('app'),
      })),
      Math.max(3, Math.floor(rounds / 5)),
    );
    console.log(markdown('pull of an 8-layer node application, cold store, loopback registry', rows));
  }
  if (want('memory')) console.log(memoryTable(engines, 10));
} finally {
  space.dispose();
}

function kernel() {
  return spawnSync('uname', ['-r'], { encoding: 'utf8' }).stdout.trim();
}

function run(command, args, env) {
  const { status } = spawnSync(command, args, { env, stdio: 'ignore' });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: exit ${status}`);
}
