import { TinyrunError } from '../errors.ts';
import { runPacker } from '../image/pack.ts';
import { feed, reportFields, runReporting } from '../image/report-process.ts';
import { packProgram, unpackProgram } from '../native/library.ts';
import { closeFd, socketPair } from '../native/syscalls.ts';
import { openContainerFiles } from './container-files.ts';
import type { Container } from './containers.ts';
import { containerSide, hostSide, type PathSide } from './copy-paths.ts';
import { baseOf, placeCopy } from './copy-rules.ts';
import type { Core } from './core.ts';
import { containerEvent } from './events.ts';
import { findContainer } from './query.ts';

/** A place in a container, or one of the host (no container): an absolute path, a `/` or `/.` at its end as typed. */
export interface CopyPlace {
  readonly container?: string;
  readonly path: string;
}

export interface CopyFilesHow {
  /** Owners, and what gives rights, stay as they are at the source; else all is root's. */
  readonly archive?: boolean;
  /** A link that the source names is followed. */
  readonly followLink?: boolean;
  readonly signal?: AbortSignal;
}

export interface Copied {
  /** Bytes of the tar that was copied. */
  readonly bytes: number;
}

/**
 * Copies files between containers and the host, a container to itself included. Two native processes do it, each locked
 * into its side, with a pipe between them; a container that changes its links meanwhile leads them nowhere else.
 * @throws TinyrunError in Docker's words
 */
export async function copyFiles(
  core: Core,
  source: CopyPlace,
  destination: CopyPlace,
  how: CopyFilesHow = {},
): Promise<Copied> {
  using from = await openSide(core, source);
  using to = await openSide(core, destination);
  const found = await from.side.source(source.path, how.followLink ?? false);
  const target = await to.side.destination(destination.path);
  const { directory, name } = placeCopy(found, target);
  using read = from.side.reading(found.path);
  const [out, into] = socketPair();
  let packing: ReturnType<typeof runPacker>;
  let unpacking: Promise<void>;
  try {
    packing = runPacker({
      packer: packProgram(),
      args: [
        ...read.options(4),
        '--path',
        read.path,
        '--name',
        name,
        ...followOption(how),
        '--compression',
        'none',
        '--subsecond',
        '1',
        '--threads',
        '1',
      ],
      blobFd: out,
      fds: read.fds,
      what: 'Cannot copy',
      ...signalOf(how),
    });
    unpacking = extract(to.side, directory, { ...how, input: into });
  } finally {
    // The children have their own: when one ends the other notices.
    closeFd(out);
    closeFd(into);
  }
  const [packed, unpacked] = await Promise.allSettled([packing, unpacking]);
  if (packed.status === 'rejected' && !isBrokenPipe(packed.reason)) throw packed.reason;
  if (unpacked.status === 'rejected') throw readable(unpacked.reason, to.side);
  if (packed.status === 'rejected') throw packed.reason;
  await noteCopy(core, from.container, 'archive-path', source.path);
  await noteCopy(core, to.container, 'extract-to-dir', destination.path);
  return { bytes: packed.value.bytes };
}

/**
 * Unpacks a tar (gzip and zstd are undone) to a directory of a container, with the owners that it says.
 * @throws TinyrunError in Docker's words
 */
export async function extractArchive(
  core: Core,
  destination: Required<CopyPlace>,
  archive: AsyncIterable<Uint8Array>,
  how: { readonly signal?: AbortSignal } = {},
): Promise<void> {
  using to = await openSide(core, destination);
  const { exists, isDirectory, path } = await to.side.destination(destination.path);
  if (!exists || !isDirectory) {
    const place = `${destination.container}:${destination.path}`;
    throw new TinyrunError('invalid', `destination "${place}" must be a directory`);
  }
  try {
    await extract(to.side, path, { ...how, archive: true, input: archive });
  } catch (error) {
    throw readable(error, to.side);
  }
  await noteCopy(core, to.container, 'extract-to-dir', destination.path);
}

/**
 * A tar of what a path in a container names, as a stream.
 * @throws TinyrunError in Docker's words
 */
export async function archiveOf(
  core: Core,
  source: Required<CopyPlace>,
  how: Pick<CopyFilesHow, 'followLink' | 'signal'> = {},
): Promise<AsyncIterable<Uint8Array>> {
  const container = await findContainer(core, source.container);
  const files = await openContainerFiles(core, container);
  try {
    const { path } = await containerSide(container, files).source(source.path, how.followLink ?? false);
    await noteCopy(core, container, 'archive-path', source.path);
    const { packStream } = await import('./pack-stream.ts');
    const { fd, options, close } = files.open('read');
    const what = ['--path', path, '--name', baseOf(path), ...followOption(how), '--subsecond', '1'];
    const end = (): void => {
      close();
      files.close();
    };
    return packStream({
      args: [...options(4), ...what],
      fds: [fd],
      what: 'Cannot copy',
      close: end,
      ...signalOf(how),
    });
  } catch (error) {
    files.close();
    throw error;
  }
}

interface OpenSide extends Disposable {
  readonly side: PathSide;
  readonly container?: Container;
}

async function openSide(core: Core, place: CopyPlace): Promise<OpenSide> {
  if (place.container === undefined) return { side: hostSide(), [Symbol.dispose]: () => {} };
  const container = await findContainer(core, place.container);
  const files = await openContainerFiles(core, container);
  return { side: containerSide(container, files), container, [Symbol.dispose]: () => files.close() };
}

interface ExtractHow extends CopyFilesHow {
  readonly input: number | AsyncIterable<Uint8Array>;
}

async function extract(side: PathSide, directory: string, how: ExtractHow): Promise<void> {
  const { input } = how;
  using write = side.writing(directory);
  const owner = how.archive === true ? [] : ['--owner', '0:0'];
  let feeding: Promise<void> | undefined;
  const { text, status } = await runReporting({
    program: unpackProgram(),
    args: [...write.options(3), '--into', write.path, ...owner],
    input: typeof input === 'number' ? input : 'pipe',
    fds: write.fds,
    ...signalOf(how),
    onStart: ({ stdin }) => {
      if (typeof input !== 'number' && stdin !== null) feeding = feed(stdin, input);
    },
  });
  const fields = reportFields(text);
  // What the archive's source did goes before what came of it.
  await feeding;
  if (fields.ok === true) return;
  throw new ExtractError(String(fields.message ?? `the unpacker ${status}`), String(fields.errno ?? ''));
}

class ExtractError extends Error {
  readonly errno: string;

  constructor(message: string, errno: string) {
    super(message);
    this.errno = errno;
  }
}

/** In Docker's words where it has some. */
function readable(error: unknown, side: PathSide): unknown {
  if (!(error instanceof ExtractError)) return error;
  if (error.errno === 'EROFS') return new TinyrunError('denied', side.readonlyMessage);
  if (error.message.startsWith('cannot overwrite')) return new TinyrunError('invalid', error.message);
  if (error.errno === 'ENOSPC' || error.errno === 'EDQUOT')
    return new TinyrunError('unavailable', `Cannot copy: ${error.message}`);
  return new TinyrunError('invalid', `Cannot copy: ${error.message}`);
}

/** The other process has ended: what it says is the reason. */
function isBrokenPipe(error: unknown): boolean {
  return error instanceof Error && /write "blob": (Broken pipe|Connection reset)/.test(error.message);
}

function followOption({ followLink }: Pick<CopyFilesHow, 'followLink'>): string[] {
  return followLink === true ? ['--follow', '1'] : [];
}

function signalOf({ signal }: { readonly signal?: AbortSignal }): { signal?: AbortSignal } {
  return signal === undefined ? {} : { signal };
}

async function noteCopy(
  core: Core,
  container: Container | undefined,
  action: string,
  path: string,
): Promise<void> {
  if (container !== undefined) await containerEvent(core, container.record, action, { path });
}
