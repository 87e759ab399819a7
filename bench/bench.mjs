/**
 * Paired comparison with the peers: each round runs every engine once, one after the other, and the figure is the median
 * of the rounds' ratios, so that the machine's own noise cancels out. Started by run.sh, in namespaces of its own.
 */
import { spawnSync } from 'node:child_process';
import { cpus, totalmem } from 'node:os';
import { peakOf, processorTime } from './cost.mjs';
import { docker } from './docker.mjs';
import { images } from './images.mjs';
import { manyTable } from './many.mjs';
import { memoryTable } from './memory.mjs';
import { podman } from './podman.mjs';
import { rawPull } from './raw.mjs';
import { markdown, measure } from './rounds.mjs';
import { must, scratch } from './scratch.mjs';
import { tinyrun } from './tinyrun.mjs';

const flags = process.argv.slice(2);
const rounds = Number(flags[flags.indexOf('--rounds') + 1] ?? 0) || 15;
const wanted = flags.filter((flag) => /^[a-z]+$/.test(flag));
const want = (name) => wanted.length === 0 || wanted.includes(name);
const wantsImages = ['pull', 'push', 'save', 'load'].some(want);

const space = scratch();
try {
  const registry = await images(space, { large: wantsImages });
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
  if (wantsImages) {
    // In a pull, a push … the client's processes end, and count as this one's children.
    const cpuOf = (engine) => () => processorTime([process.pid, ...engine.daemons]);
    const few = Math.max(1, Math.floor(rounds / 5));
    const table = (title, competitors) => console.log(markdown(title, measure(competitors, few)));
    const each = (before, once) =>
      engines.map((engine) => ({
        name: engine.name,
        cpu: cpuOf(engine),
        before: (round) => before(engine, round),
        once: (round) => once(engine, round),
      }));
    const file = (engine) => space.path(`${engine.name}.tar`);
    if (want('pull')) {
      const pulls = each(
        (engine) => engine.forget('app'),
        (engine) => engine.pull('app'),
      );
      const raw = { ...(await rawPull(space, registry, 'app')), cpu: () => processorTime([process.pid]) };
      table('pull of an 8-layer node application, cold store, loopback registry', [...pulls, raw]);
      console.log('\n**most memory during that pull** (PSS of all its processes)\n\n| | MB |\n|---|---|');
      for (const engine of engines) {
        engine.forget('app');
        const megabytes = peakOf(engine.processes, () => engine.pull('app'));
        console.log(`| ${engine.name} | ${megabytes.toFixed(0)} |`);
      }
    }
    if (want('push') || want('save') || want('load')) for (const engine of engines) engine.pull('app');
    if (want('push')) {
      const target = (engine, round) => `${registry}/pushed/${engine.name}${round + 1}`;
      const push = (engine, round) => engine.push('app', target(engine, round));
      table(
        'push of that image to a repository that does not exist',
        each(() => {}, push),
      );
    }
    if (want('save') || want('load')) {
      const save = (engine) => engine.save('app', file(engine));
      table(
        'save of that image',
        each((engine) => must('rm', ['-f', file(engine)]), save),
      );
    }
    if (want('load')) {
      table(
        'load of what it saved',
        each(
          (engine) => engine.forget('app'),
          (engine) => engine.load(file(engine)),
        ),
      );
    }
  }
  if (want('many')) console.log(manyTable(engines, 50));
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
