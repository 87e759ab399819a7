import { TinyrunError } from '../errors.ts';

/** One side of a copy, as typed and as found. */
export interface CopySource {
  /** Absolute, a `/` or `/.` at its end as typed. */
  readonly path: string;
  readonly isDirectory: boolean;
  /** What it is called in a directory where that is not the path's last part: a link that was followed. */
  readonly name?: string;
}

export interface CopyDestination extends CopySource {
  readonly exists: boolean;
}

/** Where the entries go: to `directory`, which must be there, the source's own entry under `name`. */
export interface Placement {
  readonly directory: string;
  /** `.`: what is in the source goes there, not the source. */
  readonly name: string;
}

/**
 * Docker's rules of where a copy goes.
 * @throws TinyrunError `invalid` in Docker's words
 * @see https://docs.docker.com/reference/cli/docker/container/cp/
 */
export function placeCopy(source: CopySource, destination: CopyDestination): Placement {
  const own = source.name ?? baseOf(source.path);
  if (!source.isDirectory && meansDirectory(source.path))
    throw new TinyrunError('invalid', 'not a directory');
  if (destination.exists && destination.isDirectory) return { directory: destination.path, name: own };
  if (destination.exists && source.isDirectory) throw new TinyrunError('invalid', 'cannot copy directory');
  if (meansDirectory(destination.path)) {
    if (destination.exists) throw new TinyrunError('invalid', 'not a directory');
    if (!source.isDirectory) throw new TinyrunError('invalid', 'no such directory');
  }
  const path = trimmed(destination.path);
  return { directory: parentOf(path), name: baseOf(path) };
}

/** `/`, `/.` at the end, or the root itself: what is named has to be a directory. */
export function meansDirectory(path: string): boolean {
  return path.endsWith('/') || path.endsWith('/.') || path === '.';
}

function trimmed(path: string): string {
  return path.replace(/(?:\/+\.?)+$/, '') || '/';
}

/** The name of the last component, `.` for the root and for `DIR/.`. */
export function baseOf(path: string): string {
  if (path.endsWith('/.') || path === '.') return '.';
  const base = trimmed(path).split('/').at(-1) ?? '';
  return base === '' ? '.' : base;
}

export function parentOf(path: string): string {
  const clean = trimmed(path);
  return clean.slice(0, clean.lastIndexOf('/')) || '/';
}

/** `CONTAINER:PATH`, or a path of the host: absolute, without a colon, or beginning with a dot. */
export function splitCopyArgument(text: string): { readonly container?: string; readonly path: string } {
  const colon = text.indexOf(':');
  if (text.startsWith('/') || text.startsWith('.') || colon < 0) return { path: text };
  const container = text.slice(0, colon);
  return container === '' ? { path: text.slice(1) } : { container, path: text.slice(colon + 1) };
}

/** A path as the kernel would take it, with a `/` or `/.` at its end kept, since both mean something here. */
export function absolutePath(path: string, directory: string): string {
  const parts: string[] = [];
  for (const part of `${path.startsWith('/') ? '' : directory}/${path}`.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  const clean = `/${parts.join('/')}`;
  if (path.endsWith('/.') || path === '.') return clean === '/' ? '/.' : `${clean}/.`;
  return path.endsWith('/') && clean !== '/' ? `${clean}/` : clean;
}
