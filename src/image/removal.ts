import { TinyrunError } from '../errors.ts';
import { type Digest, shortId } from '../oci/digest.ts';
import { familiarName, parseReference } from '../registry/reference.ts';
import { type ImageKey, type IndexEntry, repoDigestOf, repositoryOf, tagOf } from './index-file.ts';

/** A container that was made from an image of the store. */
export interface ContainerUse {
  /** The container's 64 hex digits. */
  readonly id: string;
  readonly running: boolean;
  /** The image id (config digest). */
  readonly image: Digest;
}

export interface RemovalRequest {
  /** As typed: Docker's refusals quote it. */
  readonly text: string;
  /** The image that `text` names. */
  readonly key: ImageKey;
  /** The canonical name, where `text` is a reference; undefined where it is an id. */
  readonly name?: string;
  readonly force: boolean;
  readonly uses: readonly ContainerUse[];
}

export interface Removal {
  readonly entries: readonly IndexEntry[];
  /** Familiar names, for the lines `Untagged: …`. */
  readonly untagged: readonly string[];
  /** Images that no entry has any more. */
  readonly deleted: readonly Digest[];
}

/**
 * What `rmi` does to the index, as Docker does it: a reference is removed first; an image goes with its last reference;
 * an id removes an image and its references, where these are of one repository or force is given.
 *
 * Pure: the caller writes the entries and collects what they no longer name.
 * @throws TinyrunError `conflict` with Docker's texts
 * @see https://github.com/moby/moby/blob/master/daemon/images/image_delete.go
 */
export function planRemoval(entries: readonly IndexEntry[], request: RemovalRequest): Removal {
  const { key, name, force, uses } = request;
  const before = referencesOf(entries, key.id);
  if (name === undefined) {
    refuseDeletion(key.id, { force, uses, references: single(before) ? [] : before });
    return removedBetween(entries, withoutImage(entries, key.id, uses));
  }
  const user = uses.find((use) => use.image === key.id);
  if (!force && single(before) && user !== undefined) {
    throw new TinyrunError(
      'conflict',
      `conflict: unable to remove repository reference "${request.text}" (must force) - ` +
        `container ${user.id.slice(0, 12)} is using its referenced image ${shortId(key.id)}`,
    );
  }
  return removedBetween(entries, withoutNames(entries, namesThatGo(entries, request.key.id, name), uses));
}

/** The references that Docker would list for an image: its tags, and a digest for each repository it was pulled from. */
export function referencesOf(entries: readonly IndexEntry[], id: Digest): string[] {
  const found = new Set<string>();
  for (const entry of entries) {
    if (!hasImage(entry, id)) continue;
    if (entry.name !== undefined) found.add(entry.name);
    const digest = repoDigestOf(entry);
    if (digest !== undefined) found.add(digest);
  }
  return [...found];
}

function hasImage(entry: IndexEntry, id: Digest): boolean {
  return entry.images?.some((image) => image.id === id) ?? false;
}

/** At most one tag, and all of one repository: the id stands for the reference then. */
function single(references: readonly string[]): boolean {
  const tags = references.filter((name) => tagOf(name) !== undefined);
  return tags.length <= 1 && new Set(references.map(repositoryOf)).size <= 1;
}

function refuseDeletion(
  id: Digest,
  state: { force: boolean; uses: readonly ContainerUse[]; references: readonly string[] },
): void {
  const refuse = (how: string, why: string): never => {
    throw new TinyrunError('conflict', `conflict: unable to delete ${shortId(id)} (${how}) - ${why}`);
  };
  const users = state.uses.filter((use) => use.image === id);
  const running = users.find((use) => use.running);
  if (running !== undefined) {
    refuse('cannot be forced', `image is being used by running container ${running.id.slice(0, 12)}`);
  }
  if (state.force) return;
  if (state.references.length > 0) {
    refuse('must be forced', 'image is referenced in multiple repositories');
  }
  const stopped = users[0];
  if (stopped !== undefined) {
    refuse('must be forced', `image is being used by stopped container ${stopped.id.slice(0, 12)}`);
  }
}

/** The entries without one platform's image; an entry that has others keeps its name. */
function withoutImage(
  entries: readonly IndexEntry[],
  id: Digest,
  uses: readonly ContainerUse[],
): IndexEntry[] {
  const holders = entries.filter((entry) => hasImage(entry, id));
  const left = entries.flatMap((entry) => {
    if (!holders.includes(entry)) return [entry];
    const { isWhole: _, ...partial } = entry;
    const images = (entry.images ?? []).filter((image) => image.id !== id);
    return images.length === 0 ? [] : [{ ...partial, images }];
  });
  return [...left, ...remainsFor(uses, holders.slice(0, 1), [id])];
}

/** Docker deletes an image under a stopped container when it is told to by force, and the container still starts. */
function remainsFor(
  uses: readonly ContainerUse[],
  entries: readonly IndexEntry[],
  ids: readonly Digest[],
): IndexEntry[] {
  return entries.flatMap(({ target, annotations, rest, images = [] }) => {
    const kept = images.filter(({ id }) => ids.includes(id) && uses.some((use) => use.image === id));
    return kept.length === 0 ? [] : [{ target, annotations, rest, images: kept, isRemoved: true }];
  });
}

/** A tag takes the repo digests of its repository with it, where no other tag of that repository names the image. */
function namesThatGo(entries: readonly IndexEntry[], id: Digest, name: string): Set<string> {
  const gone = new Set([name]);
  if (tagOf(name) === undefined) return gone;
  const repository = repositoryOf(name);
  const siblings = referencesOf(entries, id).filter(
    (other) => other !== name && repositoryOf(other) === repository,
  );
  if (siblings.some((other) => tagOf(other) !== undefined)) return gone;
  for (const digest of siblings) gone.add(digest);
  return gone;
}

/**
 * The entries without some of their names. One that loses its last name goes, but for images that a running container
 * needs: they stay, dangling. That an image was pulled passes to another tag of its repository.
 */
export function withoutNames(
  entries: readonly IndexEntry[],
  gone: ReadonlySet<string>,
  uses: readonly ContainerUse[],
): IndexEntry[] {
  const renamed = entries.map((entry): IndexEntry => {
    const { name, pulledFrom, ...bare } = entry;
    const keepsSource = pulledFrom !== undefined && !gone.has(`${pulledFrom}@${entry.target.digest}`);
    return {
      ...bare,
      ...(name === undefined || gone.has(name) ? {} : { name }),
      ...(keepsSource ? { pulledFrom } : {}),
    };
  });
  const losers = renamed.filter((entry, at) => entry.name === undefined && entries[at]?.name !== undefined);
  const sources = new Map(losers.map((entry) => [heirOf(renamed, entry), entry.pulledFrom]));
  return renamed.flatMap((entry): IndexEntry[] => {
    const source = sources.get(entry);
    if (source !== undefined) return [{ ...entry, pulledFrom: source }];
    if (!losers.includes(entry)) return [entry];
    const { pulledFrom, images = [], ...bare } = entry;
    const orphans = images.filter(({ id }) => !namedElsewhere(renamed, id));
    const running = orphans.filter(({ id }) => uses.some((use) => use.running && use.image === id));
    const stopped = orphans.flatMap(({ id }) => (running.some((image) => image.id === id) ? [] : id));
    return [
      ...(running.length > 0 ? [{ ...bare, images: running }] : []),
      ...remainsFor(uses, [entry], stopped),
    ];
  });
}

function heirOf(entries: readonly IndexEntry[], gone: IndexEntry): IndexEntry | undefined {
  return entries.find(
    ({ name, target }) =>
      name !== undefined && target.digest === gone.target.digest && repositoryOf(name) === gone.pulledFrom,
  );
}

function namedElsewhere(entries: readonly IndexEntry[], id: Digest): boolean {
  return entries.some((entry) => entry.name !== undefined && hasImage(entry, id));
}

/** What is in the first entries and not in the second: references in Docker's order (tags, then digests), images. */
export function removedBetween(before: readonly IndexEntry[], after: readonly IndexEntry[]): Removal {
  const ids = (entries: readonly IndexEntry[]): Digest[] =>
    entries.flatMap((entry) => (entry.isRemoved ? [] : (entry.images ?? []).map((image) => image.id)));
  const names = (entries: readonly IndexEntry[]): string[] => [
    ...entries.flatMap((entry) => (entry.name === undefined ? [] : [entry.name])),
    ...entries.flatMap((entry) => repoDigestOf(entry) ?? []),
  ];
  const left = new Set<string>([...names(after), ...ids(after)]);
  return {
    entries: after,
    untagged: [...new Set(names(before))]
      .filter((name) => !left.has(name))
      .map((name) => familiarName(parseReference(name))),
    deleted: [...new Set(ids(before))].filter((id) => !left.has(id)),
  };
}
