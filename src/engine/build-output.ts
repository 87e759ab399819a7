import { join, resolve } from 'node:path';
import type { Draft } from '../build/image-config.ts';
import { type LayerPacking, parseOutput } from '../build/output.ts';
import type { FileOutput } from '../build/output-write.ts';
import type { Vertices } from '../build/step-events.ts';
import type { WrittenImage } from '../build/step-image.ts';
import { TinyrunError } from '../errors.ts';
import { packProgram, unpackProgram } from '../native/library.ts';
import type { Descriptor, Platform } from '../oci/image-spec.ts';
import type { BuildRequest } from './build.ts';
import type { Core } from './core.ts';

/** What `-o`, `--push` and `-t` ask for together. */
export interface PlannedOutputs {
  readonly files: readonly FileOutput[];
  /** The image stays in the store, under its names. */
  readonly keeps: boolean;
  readonly pushes: boolean;
  /** Of `-t` and of outputs, as typed. */
  readonly names: readonly string[];
  readonly packing: LayerPacking;
}

/** @throws TinyrunError `invalid` */
export function planOutputs(request: Pick<BuildRequest, 'outputs' | 'tags'>): PlannedOutputs {
  const parsed = request.outputs.map(parseOutput);
  const names = new Set(request.tags);
  const files: FileOutput[] = [];
  let [keeps, pushes] = [parsed.length === 0, false];
  for (const { output } of parsed) {
    if (output.type === 'cacheonly') continue;
    if (output.type !== 'image') files.push(output);
    else {
      keeps = true;
      pushes ||= output.push;
      for (const name of output.names) names.add(name);
    }
    if ('annotations' in output && Object.keys(output.annotations).length > 0)
      throw new TinyrunError('unsupported', 'annotations of an output are not supported', {
        hint: 'Use --label, or LABEL in the Dockerfile',
      });
  }
  if (pushes && names.size === 0)
    throw new TinyrunError('invalid', 'tag is needed when pushing to registry', {
      hint: 'Name the image with -t',
    });
  if (files.filter(({ dest }) => dest === '-').length > 1)
    throw new TinyrunError('invalid', 'only one output can go to standard output');
  const packing = Object.assign({}, ...parsed.map((each) => each.packing)) as LayerPacking;
  return { files, keeps, pushes, names: [...names], packing };
}

export interface Finished {
  readonly drafts: readonly Draft[];
  readonly images: readonly WrittenImage[];
  /** The manifest, or the index of several platforms. */
  readonly target: Descriptor;
  readonly vertices: Vertices;
}

/** Writes archives and files, then pushes. The caller holds the store's lease. */
export async function writeOutputs(
  core: Core,
  request: BuildRequest,
  plan: PlannedOutputs,
  finished: Finished,
): Promise<void> {
  for (const output of plan.files) {
    const where = output.dest === '-' ? 'standard output' : output.dest;
    await finished.vertices.step(`exporting ${output.type} to ${where}`, [], async (vertex) => {
      vertex.started();
      await writeFiles(core, request, output, { ...finished, names: plan.names });
    });
  }
  if (!plan.pushes) return;
  const { pushImage } = await import('./push.ts');
  for (const name of plan.names) {
    await finished.vertices.step(`pushing ${name}`, [], async (vertex) => {
      vertex.started();
      await pushImage(core, name, {
        allPlatforms: finished.images.length > 1,
        signal: request.signal,
        onEvent: (event) => {
          if (event.type !== 'layer' || event.status !== 'Pushing') return;
          const { id, current = 0, total = 0 } = event;
          vertex.status({ id: `pushing layer ${id}`, current, total, done: current === total });
        },
      });
    });
  }
}

async function writeFiles(
  core: Core,
  request: BuildRequest,
  output: FileOutput,
  { drafts, images, target, names }: Finished & { readonly names: readonly string[] },
): Promise<void> {
  const { writeOutput } = await import('../build/output-write.ts');
  const { lowerDirectories } = await import('../image/layers.ts');
  const { cwd, epoch, signal, write } = request;
  const host = {
    paths: core.paths,
    cwd,
    packer: packProgram(),
    unpacker: unpackProgram(),
    names,
    signal,
    ...(write === undefined ? {} : { write }),
    ...(epoch === undefined ? {} : { clampMtime: epoch }),
  };
  const isTree = !('names' in output);
  if (isTree && output.type === 'tar' && drafts.length > 1)
    throw new TinyrunError('unsupported', 'Cannot write several platforms as one tar', {
      hint: 'Use -o type=local,dest=DIR: each platform gets a directory of it',
    });
  // An index holds all platforms; their files lie side by side.
  for (const [at, draft] of (isTree ? drafts : drafts.slice(0, 1)).entries()) {
    const manifest = images[at]?.manifest.digest ?? target.digest;
    const diffIds = draft.layers.map(({ diffId }) => diffId);
    const image = {
      manifestDigest: manifest,
      targetDigest: target.digest,
      lower: isTree ? lowerDirectories(core.paths, diffIds) : [],
    };
    const dest =
      isTree && drafts.length > 1
        ? join(resolve(cwd, output.dest), directoryOf(draft.platform))
        : output.dest;
    await writeOutput({ ...output, dest }, image, host);
  }
}

/** BuildKit's: `linux_arm_v7`. */
function directoryOf({ os, architecture, variant }: Platform): string {
  return [os, architecture, ...(variant === undefined ? [] : [variant])].join('_');
}
