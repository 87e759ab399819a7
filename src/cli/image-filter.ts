import type { StoredImage } from '../engine/index.ts';
import { parseBool, parseDuration } from './flag-values.ts';
import { FlagError } from './parse.ts';

/** What a test may look at besides the image. */
interface Surroundings {
  readonly all: readonly StoredImage[];
  /** Milliseconds since the epoch. */
  readonly now: number;
}

type Test = (image: StoredImage, value: string, around: Surroundings) => boolean;

const TESTS: Readonly<Record<string, Test>> = {
  dangling: (image, value) => isDangling(image) === parseBool(value),
  label: hasLabel,
  'label!': (image, value) => !hasLabel(image, value),
  before: (image, value, { all }) => createdAt(image) < createdAt(find(all, value)),
  since: (image, value, { all }) => createdAt(image) > createdAt(find(all, value)),
  until: (image, value, { now }) => createdAt(image) < instantOf(value, now),
};

export type FilterPairs = readonly (readonly [key: string, value: string])[];

export interface ImageFilter {
  matches(image: StoredImage, around: Surroundings): boolean;
  /** The `reference` filters, which are about each name of an image on its own. */
  matchesName(repository: string, tag: string): boolean;
}

/**
 * `--filter key=value` of images: values of one key are alternatives, but all labels must hold; keys must all hold.
 * @param keys those that the command knows
 * @throws FlagError for any other
 * @see https://docs.docker.com/reference/cli/docker/image/ls/#filter
 */
export function imageFilter(pairs: FilterPairs, keys: readonly string[]): ImageFilter {
  const byKey = new Map<string, string[]>();
  for (const [key, value] of pairs) {
    if (!keys.includes(key)) throw new FlagError(`invalid filter '${key}'`);
    byKey.set(key, [...(byKey.get(key) ?? []), value]);
  }
  const patterns = (byKey.get('reference') ?? []).map(globOf);
  byKey.delete('reference');
  return {
    matches: (image, around) =>
      [...byKey].every(([key, values]) => {
        const holds = (value: string): boolean => TESTS[key]?.(image, value, around) ?? false;
        return key.startsWith('label') ? values.every(holds) : values.some(holds);
      }),
    matchesName: (repository, tag) =>
      patterns.length === 0 ||
      patterns.some((pattern) => pattern.test(repository) || pattern.test(`${repository}:${tag}`)),
  };
}

/** No tag names it: a name by digest alone does not count, as for Docker. */
export function isDangling(image: StoredImage): boolean {
  return image.references.every((name) => name.includes('@'));
}

function hasLabel({ config }: StoredImage, value: string): boolean {
  const labels = config.config.Labels ?? {};
  const equals = value.indexOf('=');
  if (equals < 0) return Object.hasOwn(labels, value);
  const key = value.slice(0, equals);
  return Object.hasOwn(labels, key) && labels[key] === value.slice(equals + 1);
}

/** Milliseconds; an image that does not say is as old as can be. */
function createdAt({ created }: { readonly created?: string }): number {
  const time = Date.parse(created ?? '');
  return Number.isNaN(time) ? 0 : time;
}

function find(all: readonly StoredImage[], text: string): StoredImage {
  const found = all.find((image) => isNamed(image, text));
  if (found === undefined) throw new FlagError(`No such image: ${text}`);
  return found;
}

/** Whether a text is a name of an image, or the beginning of its id. */
export function isNamed({ id, references }: StoredImage, text: string): boolean {
  return (
    id.startsWith(text) ||
    id.startsWith(`sha256:${text}`) ||
    references.some((name) => namesLike(name).some((form) => form === text || form === `${text}:latest`))
  );
}

/** The forms in which people write a canonical name. */
export function namesLike(name: string): string[] {
  const short = name.replace(/^docker\.io\//, '');
  return [name, short, short.replace(/^library\//, '')];
}

/** A length of time before now, a Unix time in seconds, or a date. */
function instantOf(text: string, now: number): number {
  if (/^\d+(\.\d+)?$/.test(text)) return Number(text) * 1000;
  const date = Date.parse(text);
  if (!Number.isNaN(date)) return date;
  try {
    return now - parseDuration(text);
  } catch {
    throw new FlagError(`invalid filter 'until=${text}': expected a date or a duration such as 24h`);
  }
}

/** Go's path.Match: `*` and `?` stop at a slash. */
function globOf(pattern: string): RegExp {
  const source = pattern.replace(/\[[^\]]*\]|[*?]|[.+^${}()|[\]\\]/g, (part) => {
    if (part === '*') return '[^/]*';
    if (part === '?') return '[^/]';
    return part.length > 2 && part.startsWith('[')
      ? `[${part.slice(1, -1).replace(/[\\[\]]/g, '\\$&')}]`
      : `\\${part[0]}${part.slice(1)}`;
  });
  try {
    return new RegExp(`^${source}$`);
  } catch {
    throw new FlagError(`invalid filter 'reference=${pattern}': syntax error in pattern`);
  }
}
