import { closeSync, existsSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import type { Created, CreateHow, CreateOptions, Engine, PullPolicy } from '../engine/index.ts';
import { TinyrunError } from '../errors.ts';
import type { Context } from './context.ts';
import { createOptionsOf } from './create-options.ts';
import { FlagError, type Parsed } from './parse.ts';

/** What `run` and `create` are asked for. */
export interface Request {
  readonly options: CreateOptions;
  /** A container that has the name already goes first. */
  readonly replace: boolean;
  readonly cidFile?: string;
}

/**
 * The flags of `run` and `create`, checked against the command's own stdio.
 * @param mode `detached`: `run -d`; `created`: nothing is joined to it now, so what stdin is does not matter
 */
export function createFromFlags(
  parsed: Parsed,
  context: Context,
  mode: 'attached' | 'detached' | 'created',
): Request {
  const given = createOptionsOf(parsed, context);
  if (mode === 'detached' && given.attach.length > 0) {
    throw new FlagError('conflicting options: cannot specify both --attach and --detach');
  }
  const options = {
    ...given,
    attach: mode === 'detached' ? [] : streamsOf(given),
    createCommand: { words: context.argv, directory: context.cwd },
  };
  if (
    mode === 'attached' &&
    options.tty &&
    options.attach.includes('stdin') &&
    context.stdin.isTTY !== true
  ) {
    throw new TinyrunError('invalid', 'the input device is not a TTY');
  }
  const file = parsed.string('cidfile');
  const replace = parsed.bool('replace');
  if (replace && options.name === undefined) {
    throw new FlagError('conflicting options: --replace needs --name');
  }
  if (file === undefined || file === '') return { options, replace };
  const cidFile = resolve(context.cwd, file);
  if (existsSync(cidFile)) {
    throw new TinyrunError(
      'conflict',
      `container ID file found, make sure the other container isn't running or delete ${file}`,
    );
  }
  // Now, not when there is a container: a directory that cannot be written to must not cost one.
  closeSync(openSync(cidFile, 'wx', 0o644));
  return { options, replace, cidFile };
}

/** Which streams are joined where `-a` does not say: output always, input with `-i`. */
function streamsOf(options: CreateOptions): CreateOptions['attach'] {
  if (options.attach.length > 0) return options.attach;
  return options.openStdin ? ['stdin', 'stdout', 'stderr'] : ['stdout', 'stderr'];
}

/** Creates the container, with its id in the `--cidfile`; where that fails there is no such file. */
export async function createWithCidFile(
  { options, replace, cidFile: file }: Request,
  engine: Engine,
  how: CreateHow,
): Promise<Created> {
  const create = async (): Promise<Created> => {
    if (replace) await removeNamed(engine, options.name ?? '');
    return engine.create(options, how);
  };
  if (file === undefined) return create();
  try {
    const created = await create();
    writeFileSync(file, created.record.id);
    return created;
  } catch (error) {
    rmSync(file, { force: true });
    throw error;
  }
}

async function removeNamed(engine: Engine, name: string): Promise<void> {
  try {
    const container = await engine.find(name);
    // An id that begins with the name is another one.
    if (container.name !== name) return;
    await (await engine.remove(container.id, { force: true })).finish();
  } catch (error) {
    if (!(error instanceof TinyrunError) || error.kind !== 'not_found') throw error;
  }
}

export function parsePullPolicy(text: string): PullPolicy {
  if (text === 'always' || text === 'missing' || text === 'never') return text;
  throw new Error(`invalid pull option: '${text}': must be one of "always", "missing" or "never"`);
}
