import { TinyrunError } from '../errors.ts';
import { stepKey } from './cache.ts';
import type { Run } from './dockerfile/ast.ts';
import { parseMount } from './dockerfile/run-mount.ts';
import { type Draft, withLayer } from './image-config.ts';
import { type OpenMounts, planMounts } from './run-mounts.ts';
import type { StageStep, StageWork } from './stage.ts';
import { cachedLayer, diffIds, sourceOf } from './step-cached.ts';
import type { Vertex } from './step-events.ts';
import { type RunCommand, runCommand } from './step-run.ts';

/** RUN: the layer of what a program changed. */
export async function runStep(
  work: StageWork,
  draft: Draft,
  step: StageStep & { readonly instruction: Run },
): Promise<Draft> {
  const { solver, stage, variables } = work;
  const { input } = solver;
  const { instruction } = step;
  const command = runCommand(draft, instruction, variables);
  if (command.args.length === 0) throw new TinyrunError('invalid', 'RUN requires at least one argument');
  const { flags } = instruction;
  const insecure = flags.security === 'insecure';
  if (insecure && !input.allowInsecure) {
    throw new TinyrunError('denied', 'security.insecure is not allowed', {
      hint: 'Build with --allow security.insecure if you trust this Dockerfile with the whole machine',
    });
  }
  if (flags.device.length > 0) throw new TinyrunError('unsupported', 'RUN --device is not supported');
  const network = networkOf(flags.network, input.network);
  const mounts = await planMounts({
    input,
    draft,
    mounts: flags.mount.map((mount) =>
      parseMount(mount, (value) => variables.expand(value, draft.config.Env ?? [])),
    ),
    sourceOf: (from) => sourceOf(work, step.sources, from),
  });
  const { Env, User, WorkingDir } = draft.config;
  const parts = [
    diffIds(draft),
    command,
    Env,
    User,
    WorkingDir,
    network,
    insecure,
    mounts.key,
    draft.platform,
  ];
  const layer = await cachedLayer(work, {
    name: work.name(instruction, draft),
    description: instruction.original,
    isCached: solver.usesCache(stage),
    keys: [async () => stepKey('run', [...parts, input.layerHow.epoch])],
    fill: async (upper, scratch, vertex) => {
      const open = await mounts.open(scratch);
      try {
        vertex.started();
        await execute(work, draft, { command, network, insecure, open, upper, scratch, vertex });
      } finally {
        open.close();
      }
    },
  });
  return withLayer(draft, layer, command.createdBy);
}

function networkOf(own: string | undefined, given: 'default' | 'none' | 'host'): 'default' | 'none' | 'host' {
  if (own === 'none') return 'none';
  if (own === 'host') {
    if (given === 'host') return 'host';
    throw new TinyrunError('denied', 'network.host is not allowed', {
      hint: 'Build with --network host if this Dockerfile may use the network of the machine',
    });
  }
  return given;
}

interface Execution {
  readonly command: RunCommand;
  readonly network: 'default' | 'none' | 'host';
  readonly insecure: boolean;
  readonly open: OpenMounts;
  readonly upper: string;
  readonly scratch: string;
  readonly vertex: Vertex;
}

async function execute({ solver, variables }: StageWork, draft: Draft, execution: Execution): Promise<void> {
  const { command, network, insecure, open, upper, scratch, vertex } = execution;
  const { exitCode, oomKilled } = await solver.input.host.run({
    upper,
    scratch,
    draft,
    args: command.args,
    env: [...variables.proxies(), ...command.buildArgs, ...open.env],
    network,
    insecure,
    mounts: open.sources,
    onOutput: (stream, chunk) => vertex.log(stream, chunk),
    signal: solver.input.signal,
  });
  if (exitCode === 0) return;
  const why = oomKilled ? ': cannot allocate memory' : '';
  const shown = JSON.stringify(command.args.join(' '));
  throw new TinyrunError(
    'invalid',
    `process ${shown} did not complete successfully: exit code: ${exitCode}${why}`,
  );
}
