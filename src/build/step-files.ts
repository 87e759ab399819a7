import type { Add, Copy, Run, Workdir } from './dockerfile/ast.ts';
import type { Draft } from './image-config.ts';
import type { StageStep, StageWork } from './stage.ts';
import { copyStep } from './step-copy-layer.ts';
import { runStep } from './step-execute.ts';
import { workdirStep } from './step-workdir.ts';

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
