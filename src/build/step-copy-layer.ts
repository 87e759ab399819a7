import { posix } from 'node:path';
import { stepKey } from './cache.ts';
import { parseChmod } from './copy-chmod.ts';
import type { Add, Copy } from './dockerfile/ast.ts';
import { type Draft, withLayer } from './image-config.ts';
import type { StageStep, StageWork } from './stage.ts';
import { addedSources } from './step-add.ts';
import { cachedLayer, diffIds, sourceOf } from './step-cached.ts';
import { inWorkdir } from './step-config.ts';
import { type CopyStep, contentsOf, copyInto } from './step-copy.ts';
import { outcomeKey } from './step-outcome.ts';

/** COPY and ADD. */
export async function copyStep(
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
      // Last: equal files in an equal place are an equal layer, wherever they come from and whatever else is below.
      ...(added === undefined
        ? [async () => outcomeKey(link ? [] : host.directories(draft.layers), copy, layerHow.epoch)]
        : []),
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
