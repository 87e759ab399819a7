import type { BuildWarning, Dockerfile } from '../build/dockerfile/ast.ts';
import type { ImageFacts } from '../build/dockerfile/lint.ts';
import type { Stages } from '../build/dockerfile/stage.ts';
import type { IgnoreMatcher } from '../build/ignore.ts';
import { Vertices } from '../build/step-events.ts';
import { TinyrunError } from '../errors.ts';
import { parseReference } from '../registry/reference.ts';
import type { BuildRequest } from './build.ts';
import type { Core } from './core.ts';

export interface Linted {
  readonly dockerfile: Dockerfile;
  readonly stages: Stages;
  readonly platformArgs: Readonly<Record<string, string>>;
  readonly ignore?: IgnoreMatcher;
}

/**
 * The checks of one build. What an image brings is known where the store has it; of others the checks that need it are left
 * out, so after a build, which pulls them, there may be more findings than before.
 */
export async function lintBuild(
  core: Core,
  request: Pick<BuildRequest, 'buildArgs'>,
  linted: Linted,
  everyStage: boolean,
): Promise<BuildWarning[]> {
  const [{ lint }, store] = await Promise.all([import('../build/dockerfile/lint.ts'), core.store()]);
  const { dockerfile, stages, platformArgs, ignore } = linted;
  const image = (reference: string): ImageFacts | undefined => {
    try {
      const config = store.resolve(reference)?.config.config;
      return config === undefined
        ? undefined
        : { env: config.Env ?? [], hasShell: (config.Shell ?? []).length > 0 };
    } catch (error) {
      if (error instanceof TinyrunError) return undefined;
      throw error;
    }
  };
  return lint(dockerfile, {
    stages,
    args: { buildArgs: request.buildArgs, platformArgs },
    everyStage,
    image,
    isReference,
    ...(ignore === undefined ? {} : { ignore }),
  });
}

/**
 * Tells of the findings that were not told yet.
 * @throws TinyrunError `lint violation found` with `# check=error=true`
 */
export async function reportChecks(
  core: Core,
  request: Pick<BuildRequest, 'buildArgs' | 'onEvent'>,
  linted: Linted,
  reported: Set<string>,
): Promise<void> {
  const warnings = await lintBuild(core, request, linted, false);
  const { fileName } = linted.dockerfile;
  for (const warning of warnings) {
    const key = `${warning.rule} ${warning.location?.startLine} ${warning.message}`;
    if (reported.has(key)) continue;
    reported.add(key);
    request.onEvent({ type: 'warning', warning, fileName, time: Date.now() });
  }
  const { lintError } = await import('../build/dockerfile/lint.ts');
  const error = lintError(linted.dockerfile, warnings, request.buildArgs);
  if (error !== undefined) throw error;
}

function isReference(text: string): boolean {
  try {
    parseReference(text);
    return true;
  } catch (error) {
    if (error instanceof TinyrunError) return false;
    throw error;
  }
}

/** What `build --check` found. */
export interface CheckedBuild {
  readonly dockerfile: Dockerfile;
  /** By line. */
  readonly warnings: readonly BuildWarning[];
}

/** `build --check`: reads what a build would read, and builds nothing. @throws BuildFileError */
export async function checkBuild(core: Core, request: BuildRequest): Promise<CheckedBuild> {
  const [{ openSources }, { stages, platformArgs }, { parsePlatform }] = await Promise.all([
    import('./build-sources.ts'),
    import('../build/dockerfile/stages.ts'),
    import('../registry/platform.ts'),
  ]);
  const { buildArgs, target, signal, onEvent } = request;
  const store = await core.store();
  const sources = await openSources(core, request, new Vertices(onEvent, () => Date.now(), signal));
  try {
    const { dockerfile, namedContexts, ignore } = sources;
    const [platform = ''] = request.platforms;
    const predefined = platformArgs(
      store.host,
      platform === '' ? store.host : parsePlatform(platform, store.host),
      target,
    );
    const read = stages(dockerfile, {
      buildArgs,
      platformArgs: predefined,
      namedContexts: [...namedContexts.keys()],
      ...(target === undefined ? {} : { target }),
    });
    const found = await lintBuild(
      core,
      request,
      { dockerfile, stages: read, platformArgs: predefined, ...(ignore === undefined ? {} : { ignore }) },
      target === undefined,
    );
    const line = ({ location }: BuildWarning): number => location?.startLine ?? 0;
    return { dockerfile, warnings: found.sort((a, b) => line(a) - line(b)) };
  } finally {
    await sources.close();
  }
}
