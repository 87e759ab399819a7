import { TinyrunError } from '../errors.ts';
import type { ProcessDefaults } from '../oci/image-spec.ts';
import { DEFAULT_PATH } from '../runtime/defaults.ts';
import type { CreateOptions } from './options.ts';

/**
 * ENTRYPOINT and CMD with what the user gave: an entrypoint given drops both of the image's, even an empty one
 * (`--entrypoint ""`); a command given replaces CMD only.
 * @throws TinyrunError `invalid` where nothing is left to run
 * @see https://github.com/opencontainers/image-spec/blob/main/conversion.md#verbatim-fields
 */
export function argumentsOf(
  image: ProcessDefaults,
  options: Pick<CreateOptions, 'entrypoint' | 'command'>,
): string[] {
  const given = options.entrypoint;
  const entrypoint =
    given === undefined ? (image.Entrypoint ?? []) : given.filter((part, index) => index > 0 || part !== '');
  const command = given === undefined && options.command.length === 0 ? (image.Cmd ?? []) : options.command;
  const args = [...entrypoint, ...command];
  if (args.length === 0) throw new TinyrunError('invalid', 'no command specified');
  return args;
}

export interface EnvironmentInput {
  readonly image: readonly string[];
  /** `KEY=value`; a `KEY` alone takes that variable away. */
  readonly requested: readonly string[];
  readonly hostname: string;
  readonly tty: boolean;
  readonly home: string;
}

/**
 * The environment in Docker's order: the defaults, replaced in place, then the user's, then the image's, HOME last.
 * Of a variable named twice the later one holds.
 * @throws TinyrunError `invalid` for an entry that no environment can carry
 */
export function environmentOf(input: EnvironmentInput): string[] {
  const result = new Map<string, string | undefined>([
    ['PATH', DEFAULT_PATH],
    ['HOSTNAME', input.hostname],
  ]);
  if (input.tty) result.set('TERM', 'xterm');
  const requested = input.requested.map(split);
  const given = new Set(requested.map(([key]) => key));
  for (const [key, value] of requested) result.set(key, value);
  // An image's entries without a name are dropped, not refused: the image cannot be corrected by who runs it.
  const image = input.image.filter((entry) => entry !== '' && !entry.startsWith('=')).map(split);
  for (const [key, value] of image) if (!given.has(key)) result.set(key, value);
  // An empty HOME counts as none, as in runc.
  if (!given.has('HOME') && (result.get('HOME') ?? '') === '') result.set('HOME', input.home);
  return [...result].flatMap(([key, value]) => (value === undefined ? [] : [`${key}=${value}`]));
}

function split(entry: string): [string, string | undefined] {
  if (entry.includes('\0') || entry === '' || entry.startsWith('=')) {
    throw new TinyrunError('invalid', `invalid environment variable: ${entry.replaceAll('\0', '\\0')}`);
  }
  const equals = entry.indexOf('=');
  return equals === -1 ? [entry, undefined] : [entry.slice(0, equals), entry.slice(equals + 1)];
}

/**
 * Absolute and without `.`, `..` or doubled slashes. `/` where none is given.
 * @throws TinyrunError `invalid` for a relative path, with Docker's words
 */
export function workingDirectoryOf(requested: string | undefined, image: string | undefined): string {
  const path = requested || image || '/';
  if (!path.startsWith('/')) {
    throw new TinyrunError(
      'invalid',
      `the working directory '${path}' is invalid, it needs to be an absolute path`,
    );
  }
  return cleanPath(path);
}

/** Go's filepath.Clean for absolute paths. */
export function cleanPath(path: string): string {
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '..') parts.pop();
    else if (part !== '' && part !== '.') parts.push(part);
  }
  return `/${parts.join('/')}`;
}
