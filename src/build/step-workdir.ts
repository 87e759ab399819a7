import { TinyrunError } from '../errors.ts';
import { stepKey } from './cache.ts';
import { copyFiles } from './copy-files.ts';
import type { Workdir } from './dockerfile/ast.ts';
import { type Draft, withConfig, withLayer } from './image-config.ts';
import type { StageWork } from './stage.ts';
import { cachedLayer, diffIds } from './step-cached.ts';
import { inWorkdir } from './step-config.ts';
import { emptyLayer } from './step-layer.ts';

/** WORKDIR makes its directory where it is missing. */
export async function workdirStep(work: StageWork, draft: Draft, instruction: Workdir): Promise<Draft> {
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
