import type { Digest } from '../oci/digest.ts';
import { canonicalName, parseReference } from '../registry/reference.ts';
import { PUSHED_REGISTRY } from '../registry/server/layout-shelf.ts';
import { type ImageKey, type IndexEntry, repositoryOf, type Target, tagOf } from './index-file.ts';
import { type ContainerUse, withoutNames } from './removal.ts';

const REF_NAME = 'org.opencontainers.image.ref.name';

/** A manifest that a client has put into a repository. */
export interface ShelvedManifest {
  readonly repository: string;
  /** Empty: it is named by its digest. */
  readonly tags: readonly string[];
  readonly target: Target;
  /** The images in it; empty for an artifact. */
  readonly images: readonly ImageKey[];
  /** Digests of the manifests below it, which need no names of their own now. */
  readonly parts: ReadonlySet<Digest>;
}

/** The entries with a pushed manifest. What its tags named before stays under its digest, as in every registry. */
export function withManifest(entries: readonly IndexEntry[], put: ShelvedManifest): readonly IndexEntry[] {
  const { target, images, tags } = put;
  const repository = `${PUSHED_REGISTRY}/${put.repository}`;
  const made = (name: string): IndexEntry => ({
    name,
    target,
    images,
    pulledFrom: repository,
    isWhole: true,
    annotations: {},
    rest: {},
  });
  const ofRepository = (entry: IndexEntry): boolean =>
    entry.name !== undefined && repositoryOf(entry.name) === repository;
  const names = new Set(tags.map((tag) => `${repository}:${tag}`));
  const replaced = entries.filter(({ name }) => name !== undefined && names.has(name));
  const isSuperfluous = (entry: IndexEntry): boolean =>
    ofRepository(entry) &&
    tagOf(entry.name ?? '') === undefined &&
    (put.parts.has(entry.target.digest) || (names.size > 0 && entry.target.digest === target.digest));
  let after: readonly IndexEntry[] = entries.filter(
    (entry) => !replaced.includes(entry) && !isSuperfluous(entry),
  );
  if (names.size === 0 && !after.some((one) => ofRepository(one) && one.target.digest === target.digest))
    after = [...after, made(`${repository}@${target.digest}`)];
  after = [...after, ...[...names].map(made)];
  return replaced.reduce(kept, after);
}

/** A tag's manifest stays in the repository under its digest. */
function kept(entries: readonly IndexEntry[], lost: IndexEntry): readonly IndexEntry[] {
  const repository = repositoryOf(lost.name ?? '');
  const isThere = entries.some(
    ({ name, target }) =>
      name !== undefined && repositoryOf(name) === repository && target.digest === lost.target.digest,
  );
  return isThere ? entries : [...entries, { ...lost, name: `${repository}@${lost.target.digest}` }];
}

export interface RemovalFrom {
  readonly repository: string;
  /** Leaves alone what no client has pushed: it is the host's. */
  readonly pushedOnly: boolean;
  readonly uses: readonly ContainerUse[];
}

/** The entries without a tag, whose manifest stays under its digest. Undefined: there is no such tag. */
export function withoutTag(
  entries: readonly IndexEntry[],
  tag: string,
  from: RemovalFrom,
): readonly IndexEntry[] | 'foreign' | undefined {
  const found = entriesOf(entries, from.repository).filter(({ name }) => tagOf(name ?? '') === tag);
  if (found.length === 0) return undefined;
  if (found.some((entry) => isForeign(entry, from))) return 'foreign';
  return found.reduce(
    kept,
    entries.filter((entry) => !found.includes(entry)),
  );
}

/** The entries without a manifest and all its tags. */
export function withoutManifest(
  entries: readonly IndexEntry[],
  digest: Digest,
  from: RemovalFrom,
): readonly IndexEntry[] | 'foreign' | undefined {
  const found = entriesOf(entries, from.repository).filter(({ target }) => target.digest === digest);
  if (found.length === 0) return undefined;
  if (found.some((entry) => isForeign(entry, from))) return 'foreign';
  const gone = new Set(
    found.flatMap(({ name }) => (name === undefined ? [] : [name, `${repositoryOf(name)}@${digest}`])),
  );
  return withoutNames(entries, gone, from.uses);
}

/** An entry that another program has named, under the name that it is served by. */
export function adopted(entry: IndexEntry): IndexEntry {
  if (entry.name !== undefined) return entry;
  const { [REF_NAME]: text, ...annotations } = entry.annotations;
  try {
    return text === undefined ? entry : { ...entry, name: canonicalName(parseReference(text)), annotations };
  } catch {
    return entry;
  }
}

function entriesOf(entries: readonly IndexEntry[], repository: string): IndexEntry[] {
  return entries.filter(({ name }) => name !== undefined && parseReference(name).repository === repository);
}

function isForeign({ name = '' }: IndexEntry, { pushedOnly }: RemovalFrom): boolean {
  return pushedOnly && !name.startsWith(`${PUSHED_REGISTRY}/`);
}
