import { posix } from 'node:path';
import { TinyrunError } from '../errors.ts';
import { findStep, saveStep, stepKey, whileAlone } from './cache.ts';
import { parseChmod } from './copy-chmod.ts';
import { copyFiles } from './copy-files.ts';
import type { FileSource } from './copy-source.ts';
import type { Add, Copy, Run, Workdir } from './dockerfile/ast.ts';
import { parseMount } from './dockerfile/run-mount.ts';
import type { StageSource } from './dockerfile/stage.ts';
import { type BuiltLayer, type Draft, withConfig, withLayer } from './image-config.ts';
import { planMounts } from './run-mounts.ts';
import type { StageStep, StageWork } from './stage.ts';
import { addedSources } from './step-add.ts';
import { inWorkdir } from './step-config.ts';
import { type CopyStep, contentsOf, copyInto } from './step-copy.ts';
import type { Vertex } from './step-events.ts';
import { emptyLayer, makeLayer } from './step-layer.ts';
import { type RunCommand, runCommand } from './step-run.ts';

/** An instruction that makes a layer. */
export type LayerStep = StageStep & { readonly instruction: Run | Copy | Add | Workdir };

/** Carries out an instruction that makes a layer, or takes the layer from the cache. */
export async function runLayerStep(work: StageWork, draft: Draft, step: LayerStep): Promise<Draft> {
  const { instruction } = step;
  switch (instruction.name) {
    case 'RUN':
      return await runStep(work, draft, { ...step, instruction });
    case 'WORKDIR':
      return await workdirStep(work, draft, instruction);
    default:
      return await copyStep(work, draft, { ...step, instruction });
  }
}

interface Making {
  readonly name: string;
  readonly description: string;
  /** 64 hex digits; several, where an exact one can be had later for more work: any of them will do. */
  readonly keys: readonly (() => Promise<string>)[];
  readonly isCached: boolean;
  readonly fill: (upper: string, scratch: string, vertex: Vertex) => Promise<void>;
}

/** The layer from the cache or made now; of equal steps at the same time one is carried out. */
async function cachedLayer({ solver }: StageWork, making: Making): Promise<BuiltLayer> {
  const { host, layerHow, signal } = solver.input;
  const { paths } = host;
  return await solver.vertices.step(making.name, [], async (vertex) => {
    const keys: string[] = [];
    for (const key of making.keys) {
      const next = await key();
      const found = making.isCached ? findStep(paths, next) : undefined;
      if (found !== undefined) {
        for (const known of keys) saveStep(paths, known, found);
        vertex.cached();
        return found.layer;
      }
      keys.push(next);
    }
    const last = keys.at(-1) ?? '';
    return await whileAlone(paths, last, async () => {
      const found = making.isCached ? findStep(paths, last) : undefined;
      if (found !== undefined) {
        vertex.cached();
        return found.layer;
      }
      const slot = await solver.slots.take();
      try {
        signal.throwIfAborted();
        vertex.started();
        const made = await makeLayer(paths, layerHow, (upper, scratch) =>
          making.fill(upper, scratch, vertex),
        );
        const { layer, bytes } = made;
        const saved = made.durable.then(() => {
          for (const key of keys) saveStep(paths, key, { layer, bytes, description: making.description });
        });
        solver.later(saved);
        return layer;
      } finally {
        slot.release();
      }
    });
  });
}

function diffIds({ layers }: Draft): readonly string[] {
  return layers.map(({ diffId }) => diffId);
}

async function workdirStep(work: StageWork, draft: Draft, instruction: Workdir): Promise<Draft> {
  const { solver } = work;
  const { host, layerHow, signal } = solver.input;
  const path = work.variables.expand(instruction.path, draft.config.Env ?? []);
  if (path === '') throw new TinyrunError('invalid', 'WORKDIR requires exactly one argument');
  const directory = inWorkdir(draft, path).replace(/(.)\/$/, '$1');
  const next = { ...draft, config: { ...draft.config, WorkingDir: directory } };
  const createdBy = `WORKDIR ${directory}`;
  if (directory === '/') return withConfig(draft, next.config, createdBy);
  if (await host.isDirectory(draft.layers, directory)) {
    return withLayer(next, emptyLayer(host.paths, layerHow).layer, createdBy);
  }
  const layer = await cachedLayer(work, {
    name: work.name(instruction, draft),
    description: instruction.original,
    isCached: solver.usesCache(work.stage),
    keys: [async () => stepKey('workdir', [diffIds(draft), directory, layerHow.epoch])],
    fill: async (upper, _scratch, vertex) => {
      vertex.started();
      const mtimeMs = layerHow.epoch === undefined ? solver.input.now() : layerHow.epoch * 1000;
      const records = [{ type: 'base', mode: 0o755, mtimeMs, dest: directory, source: '' } as const];
      await copyFiles({ upper, lower: host.directories(draft.layers), source: [], records, signal });
    },
  });
  return withLayer(next, layer, createdBy);
}

async function runStep(
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
  readonly open: Awaited<ReturnType<Awaited<ReturnType<typeof planMounts>>['open']>>;
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

async function copyStep(
  work: StageWork,
  draft: Draft,
  step: StageStep & { readonly instruction: Copy | Add },
): Promise<Draft> {
  const { solver, variables } = work;
  const { host, layerHow, signal } = solver.input;
  const { instruction } = step;
  const { flags } = instruction;
  const env = draft.config.Env ?? [];
  const expand = (word: string): string => variables.expand(word, env);
  const destination = inWorkdir(draft, expand(instruction.destination));
  const chmod = flags.chmod === undefined ? undefined : expand(flags.chmod);
  const chown = flags.chown === undefined ? undefined : expand(flags.chown);
  const owner = chown === undefined ? undefined : await host.account(draft.layers, chown);
  const exclude = flags.exclude.map(expand);
  const paths = instruction.sources.flatMap((source) =>
    source.type === 'path' ? [expand(source.path)] : [],
  );
  const from = instruction.name === 'COPY' ? instruction.flags.from : undefined;
  const source = await sourceOf(work, step.sources, from);
  const contents = contentsOf(instruction.sources, variables, env);
  const copy: CopyStep = {
    source,
    patterns: paths.map((path) => posix.normalize(`/${path}`).slice(1)),
    contents,
    destination,
    exclude,
    parents: instruction.name === 'COPY' && instruction.flags.parents,
    link: flags.link,
    ...(owner === undefined ? {} : { owner }),
    ...(chmod === undefined ? {} : { chmod: parseChmod(chmod) }),
  };
  const added = instruction.name === 'ADD' ? await addedSources(work, instruction, copy, paths) : undefined;
  const { link, parents } = copy;
  const literal = contents.map(({ name, data }) => [name, Buffer.from(data).toString('base64')]);
  const below = link ? 'link' : diffIds(draft);
  const parts = [below, destination, owner, chmod, parents, exclude, literal, layerHow.epoch, added?.key];
  const patterns = added?.patterns ?? copy.patterns;
  const layer = await cachedLayer(work, {
    name: work.name(instruction, draft),
    description: instruction.original,
    isCached: solver.usesCache(work.stage),
    keys: [
      ...(source.keepsOwner
        ? [async () => stepKey('copy-layers', [...parts, source.directories, paths])]
        : []),
      async () => {
        const digest = patterns.length === 0 ? '' : await source.digest(patterns, { exclude });
        return stepKey('copy', [...parts, paths, digest, source.keepsOwner]);
      },
    ],
    fill: async (upper, scratch, vertex) => {
      vertex.started();
      const how = { upper, scratch, now: solver.input.now(), signal };
      if (added === undefined) await copyInto(host, draft.layers, copy, how);
      else await added.fill(draft, how);
    },
  });
  return withLayer(
    draft,
    layer,
    shownCopy(instruction, {
      paths,
      contents: contents.map(({ name }) => name),
      destination: expand(instruction.destination),
      chmod,
      chown,
    }),
  );
}

interface ShownCopy {
  readonly paths: readonly string[];
  readonly contents: readonly string[];
  readonly destination: string;
  readonly chown: string | undefined;
  readonly chmod: string | undefined;
}

function shownCopy(instruction: Copy | Add, shown: ShownCopy): string {
  const { name, flags } = instruction;
  const words = [
    ...(name === 'COPY' && instruction.flags.parents ? ['--parents'] : []),
    ...(shown.chown === undefined ? [] : [`--chown=${shown.chown}`]),
    ...(shown.chmod === undefined ? [] : [`--chmod=${shown.chmod}`]),
    ...flags.exclude.map((pattern) => `--exclude=${pattern}`),
    ...(flags.link ? ['--link'] : []),
    ...shown.contents.map((content) => `<<${content}`),
    ...shown.paths,
    shown.destination,
  ];
  return `${name} ${words.join(' ')} # buildkit`;
}

/** What `--from` or `from=` means; without one, the build context. */
async function sourceOf(
  { solver }: StageWork,
  sources: ReadonlyMap<string, StageSource>,
  word: string | undefined,
): Promise<FileSource> {
  if (word === undefined) return await solver.contextFiles(undefined);
  const source = sources.get(word);
  if (source === undefined)
    throw new TinyrunError('invalid', `failed to resolve source ${JSON.stringify(word)}`);
  return await solver.files(source);
}
