import { TinyrunError } from '../errors.ts';
import { type Digest, parseDigest } from '../oci/digest.ts';

/**
 * The name of an image, normalised as Docker does it: always a registry, always a full path. Parsed once at the edge.
 * This file is on the path of `run`: it imports nothing heavy.
 * @see https://github.com/distribution/reference/blob/main/normalize.go
 */
export interface Reference {
  /** Host with optional port; `docker.io` where none was given. */
  readonly registry: string;
  /** Path in the registry, such as `library/busybox`. */
  readonly repository: string;
  readonly tag?: string;
  /** Decides alone where both are there. */
  readonly digest?: Digest;
}

export const DEFAULT_REGISTRY = 'docker.io';
const LEGACY_DEFAULT_REGISTRY = 'index.docker.io';
const OFFICIAL = 'library/';
const DEFAULT_TAG = 'latest';
/** Characters of a repository path. */
const LONGEST_REPOSITORY = 255;

// The grammar of distribution/reference, regexp.go. Written so that every alternative starts with another character:
// V8 backtracks where Go does not, and a hostile name must not cost more than its length.
const LABEL = '[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?';
const REGISTRY = new RegExp(`^(?:${LABEL}(?:\\.${LABEL})*|\\[[a-fA-F0-9:]+\\])(?::[0-9]+)?$`);
const COMPONENT = '[a-z0-9]+(?:(?:\\.|__?|-+)[a-z0-9]+)*';
const TAG = '[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}';
const DIGEST = '[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}';
const REMOTE = new RegExp(`^(${COMPONENT}(?:/${COMPONENT})*)(?::(${TAG}))?(?:@(${DIGEST}))?$`);
const IDENTIFIER = /^[a-f0-9]{64}$/;

/**
 * What a user typed as a reference. No tag is added: `tag` and `digest` are both absent for a bare name.
 * @throws TinyrunError `invalid` with Docker's words; `unsupported` for a digest that is not sha256
 */
export function parseReference(text: string): Reference {
  if (IDENTIFIER.test(text)) {
    throw new TinyrunError(
      'invalid',
      `invalid repository name (${text}), cannot specify 64-byte hexadecimal strings`,
    );
  }
  const { registry, remainder } = splitRegistry(text);
  const name = remainder.split(':', 1)[0] ?? '';
  if (name !== name.toLowerCase()) {
    throw new TinyrunError(
      'invalid',
      `invalid reference format: repository name (${name}) must be lowercase`,
    );
  }
  const match = REMOTE.exec(remainder);
  const repository = match?.[1];
  if (match === null || repository === undefined || !REGISTRY.test(registry)) {
    throw new TinyrunError('invalid', 'invalid reference format');
  }
  if (repository.length > LONGEST_REPOSITORY) {
    throw new TinyrunError(
      'invalid',
      `invalid reference format: repository name must not be more than ${LONGEST_REPOSITORY} characters`,
    );
  }
  const [, , tag, digest] = match;
  return {
    registry,
    repository,
    ...(tag === undefined ? {} : { tag }),
    ...(digest === undefined ? {} : { digest: checkedDigest(digest) }),
  };
}

/** The first part is a host only where it looks like one: `localhost`, a dot, a colon, an upper-case letter. */
function splitRegistry(text: string): { registry: string; remainder: string } {
  const slash = text.indexOf('/');
  if (slash === -1) return { registry: DEFAULT_REGISTRY, remainder: OFFICIAL + text };
  const first = text.slice(0, slash);
  const rest = text.slice(slash + 1);
  if (first === LEGACY_DEFAULT_REGISTRY || first === DEFAULT_REGISTRY) {
    return { registry: DEFAULT_REGISTRY, remainder: rest.includes('/') ? rest : OFFICIAL + rest };
  }
  const isHost = first === 'localhost' || /[.:]/.test(first) || first !== first.toLowerCase();
  return isHost ? { registry: first, remainder: rest } : { registry: DEFAULT_REGISTRY, remainder: text };
}

const HEX_LENGTH: Readonly<Record<string, number>> = { sha256: 64, sha384: 96, sha512: 128 };

/** Docker's three sentences for a digest that is none (go-digest), and ours for the algorithms that tinyrun lacks. */
function checkedDigest(text: string): Digest {
  const colon = text.indexOf(':');
  const hex = text.slice(colon + 1);
  const length = HEX_LENGTH[text.slice(0, colon)];
  if (length === undefined) throw new TinyrunError('invalid', 'unsupported digest algorithm');
  if (hex.length !== length) throw new TinyrunError('invalid', 'invalid checksum digest length');
  if (hex !== hex.toLowerCase()) throw new TinyrunError('invalid', 'invalid checksum digest format');
  return parseDigest(text, 'image digest');
}

/** The same reference with `:latest` where neither tag nor digest was given. */
export function withDefaultTag(reference: Reference): Reference {
  if (reference.tag !== undefined || reference.digest !== undefined) return reference;
  return { ...reference, tag: DEFAULT_TAG };
}

/** Without tag and digest, in full: `docker.io/library/busybox`. */
export function canonicalRepository(reference: Reference): string {
  return `${reference.registry}/${reference.repository}`;
}

/** In full, with the default tag: `docker.io/library/busybox:latest`. */
export function canonicalName(reference: Reference): string {
  return canonicalRepository(reference) + suffix(reference);
}

/** Without tag and digest, as people write it: `busybox`. */
export function familiarRepository(reference: Reference): string {
  const { registry, repository } = reference;
  if (registry !== DEFAULT_REGISTRY) return `${registry}/${repository}`;
  const official = repository.startsWith(OFFICIAL) && !repository.slice(OFFICIAL.length).includes('/');
  return official ? repository.slice(OFFICIAL.length) : repository;
}

/** As people write it, with the default tag: `busybox:latest`. */
export function familiarName(reference: Reference): string {
  return familiarRepository(reference) + suffix(reference);
}

function suffix(reference: Reference): string {
  const { tag, digest } = withDefaultTag(reference);
  return (tag === undefined ? '' : `:${tag}`) + (digest === undefined ? '' : `@${digest}`);
}
