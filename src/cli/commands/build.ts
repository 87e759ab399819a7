import type { BuildWarning } from '../../build/dockerfile/ast.ts';
import { BuildFileError } from '../../build/dockerfile/build-file-error.ts';
import type { BuildEvent } from '../../build/events.ts';
import type { BuiltImage } from '../../engine/index.ts';
import { describe } from '../../errors.ts';
import { BUILD_FLAGS, type BuildOptions, buildOptions } from '../build-flags.ts';
import { openBuildProgress, PROGRESS_MODES, type ProgressMode } from '../build-progress.ts';
import type { Call, Command } from '../command.ts';
import { FlagError } from '../parse.ts';

export const build: Command = {
  name: 'build',
  summary: 'Build an image from a Dockerfile',
  usage: '[OPTIONS] PATH | URL | -',
  options: BUILD_FLAGS,
  operands: { min: 1, max: 1 },
  async run(call) {
    const { context, parsed } = call;
    const options = await buildOptions(parsed, context);
    if (isCheck(call)) return await check(call, options);
    const progress = openBuildProgress(context.stderr, { mode: progressMode(call), now: () => Date.now() });
    const warnings: BuildWarning[] = [];
    const onEvent = (event: BuildEvent): void => {
      if (event.type === 'warning') warnings.push(event.warning);
      progress.event(event);
    };
    const engine = await call.engine();
    let built: BuiltImage;
    try {
      built = await engine.build({ ...options, onEvent, signal: context.signal });
    } catch (error) {
      progress.finish();
      return report(call, error);
    }
    progress.finish();
    // Else it would stand behind the archive.
    if (parsed.bool('quiet') && !built.toStdout) context.stdout.write(`${built.id}\n`);
    await writeFiles(call, built);
    return 0;
  },
};

function progressMode({ context, parsed }: Call): ProgressMode {
  if (parsed.bool('quiet')) return 'quiet';
  const text = parsed.has('progress')
    ? (parsed.string('progress') ?? 'auto')
    : context.env.BUILDKIT_PROGRESS || 'auto';
  const mode = PROGRESS_MODES.find((one) => one === text);
  if (mode === undefined) throw new FlagError(`invalid progress mode ${text}`);
  return mode;
}

/** As buildx: the lines of the Dockerfile, then one that says what is wrong. */
function report({ context }: Call, error: unknown): number {
  if (!(error instanceof BuildFileError)) throw error;
  context.stderr.write(`${error.excerpt}\nERROR: failed to solve: ${describe(error)}\n`);
  const hint = hintOf(error);
  if (hint !== undefined) context.stderr.write(`${hint}\n`);
  return 1;
}

function hintOf(error: unknown): string | undefined {
  for (let at = error; at instanceof Error; at = at.cause) {
    if ('hint' in at && typeof at.hint === 'string') return at.hint;
  }
  return undefined;
}

async function writeFiles({ context, parsed }: Call, built: BuiltImage): Promise<void> {
  const [idFile, metadataFile] = [parsed.string('iidfile'), parsed.string('metadata-file')];
  if (!idFile && !metadataFile) return;
  const { writeIdFile, writeMetadata } = await import('../../build/output-metadata.ts');
  const { resolve } = await import('node:path');
  const { id, target, names } = built;
  if (idFile) writeIdFile(resolve(context.cwd, idFile), id);
  if (metadataFile) writeMetadata(resolve(context.cwd, metadataFile), { id, descriptor: target, names });
}

function isCheck({ parsed }: Call): boolean {
  const call = parsed.string('call') ?? 'build';
  if (parsed.bool('check') || call === 'check' || call === 'lint') return true;
  if (call !== 'build')
    throw new FlagError(`invalid argument "${call}" for "--call" flag: expected build or check`);
  return false;
}

/** Exit code 1 where there is something to say, as buildx. */
async function check(call: Call, options: BuildOptions): Promise<number> {
  const { context } = call;
  const { checkReport } = await import('../build-check.ts');
  const engine = await call.engine();
  try {
    const checked = await engine.checkBuild({ ...options, onEvent: () => {}, signal: context.signal });
    context.stdout.write(checkReport(checked));
    return checked.warnings.length === 0 ? 0 : 1;
  } catch (error) {
    return report(call, error);
  }
}
