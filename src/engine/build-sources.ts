import type { BuildContext } from '../build/context.ts';
import type { Dockerfile } from '../build/dockerfile/ast.ts';
import type { IgnoreMatcher } from '../build/ignore.ts';
import type { SourceHost } from '../build/source-host.ts';
import type { Vertices } from '../build/step-events.ts';
import type { NamedContext } from '../build/step-host.ts';
import { unpackProgram } from '../native/library.ts';
import type { BuildRequest } from './build.ts';
import type { Core } from './core.ts';

/** What a build reads: the Dockerfile, and contexts that are open until it ends. */
export interface BuildSources {
  readonly dockerfile: Dockerfile;
  readonly context: BuildContext;
  /** What .dockerignore says, for the checks. */
  readonly ignore?: IgnoreMatcher;
  readonly namedContexts: ReadonlyMap<string, NamedContext>;
  close(): Promise<void>;
}

/** Opens what `build` names. @throws BuildFileError for a Dockerfile that is wrong */
export async function openSources(
  core: Core,
  request: BuildRequest,
  vertices: Vertices,
): Promise<BuildSources> {
  const [{ openBuildInput }, { parseDockerfile }] = await Promise.all([
    import('../build/build-input.ts'),
    import('../build/dockerfile/parse.ts'),
  ]);
  const host = sourceHost(core, request);
  const shown = request.file ?? 'Dockerfile';
  const input = await vertices.step(
    `[internal] load build definition from ${shown.split('/').at(-1)}`,
    [],
    async (vertex) => {
      vertex.started();
      const opened = await openBuildInput(request.context, request.file, {
        ...host,
        onLog: (chunk) => vertex.log('stderr', chunk),
      });
      const current = Buffer.byteLength(opened.dockerfile.text);
      vertex.status({ id: 'reading dockerfile:', current, done: true });
      return opened;
    },
  );
  const open: Closable[] = [input.context];
  const close = async (): Promise<void> => {
    for (const context of open) await context.close();
  };
  try {
    const dockerfile = parseDockerfile(input.dockerfile.text, input.dockerfile.fileName);
    const namedContexts = await namedContextsOf(core, request, host, open);
    const ignore = input.ignore === undefined ? {} : { ignore: input.ignore };
    return { dockerfile, context: input.context, namedContexts, close, ...ignore };
  } catch (error) {
    await close();
    throw error;
  }
}

/** What goes with the build. */
export interface Closable {
  close(): Promise<void>;
}

function sourceHost(core: Core, request: BuildRequest): SourceHost {
  return {
    cwd: request.cwd,
    env: core.env,
    unpacker: unpackProgram(),
    paths: core.paths,
    signal: request.signal,
    keepGitDir: request.buildArgs.BUILDKIT_CONTEXT_KEEP_GIT_DIR === '1',
    ...(request.stdin === undefined ? {} : { stdin: request.stdin }),
  };
}

async function namedContextsOf(
  core: Core,
  request: BuildRequest,
  host: SourceHost,
  open: Closable[],
): Promise<Map<string, NamedContext>> {
  const contexts = new Map<string, NamedContext>();
  if (request.buildContexts.length === 0) return contexts;
  const [{ parseNamedContext }, { openNamedFiles }] = await Promise.all([
    import('../build/named-context.ts'),
    import('../build/build-input.ts'),
  ]);
  for (const text of request.buildContexts) {
    const { name, source } = parseNamedContext(text);
    if (source.type === 'image') contexts.set(name, source);
    else if (source.type === 'oci-layout') {
      const { layoutContext } = await import('./build-layout.ts');
      contexts.set(name, await layoutContext(core, request, source, open));
    } else contexts.set(name, { type: 'files', open: () => openOnce(source.value) });
  }
  const opened = new Map<string, Promise<BuildContext>>();
  const openOnce = (value: string): Promise<BuildContext> => {
    const known = opened.get(value) ?? openNamedFiles(value, host);
    if (!opened.has(value)) known.then((context) => open.push(context)).catch(() => {});
    opened.set(value, known);
    return known;
  };
  return contexts;
}
