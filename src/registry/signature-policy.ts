import { TinyrunError } from '../errors.ts';
import { type JsonObject, parseJsonObject, type Shape, shapeOf } from './json-shape.ts';
import { printable } from './printable.ts';
import { canonicalRepository, parseReference, type Reference } from './reference.ts';

/**
 * Which images may be pulled, by who has signed them.
 * @see https://github.com/containers/image/blob/main/docs/containers-policy.json.5.md
 */
export interface SignaturePolicy {
  readonly default: readonly Requirement[];
  /** Of the transport `docker`, by scope: `registry/repository:tag`, anything above it, or `*.domain`. */
  readonly scopes: ReadonlyMap<string, readonly Requirement[]>;
}

/** All requirements of a scope must hold. */
export type Requirement =
  | { readonly type: 'insecureAcceptAnything' | 'reject' }
  | SigstoreSigned
  /** One that tinyrun cannot check: it never holds. */
  | { readonly type: 'unsupported'; readonly what: string };

export interface SigstoreSigned {
  readonly type: 'sigstoreSigned';
  /** Files with public keys in PEM; a signature by one of all keys is enough. */
  readonly keyPaths: readonly string[];
  /** The keys themselves, PEM. */
  readonly keyDatas: readonly string[];
  readonly identity: SignedIdentity;
}

/** Which name must stand in a signature. */
export type SignedIdentity =
  | { readonly type: 'matchExact' | 'matchRepoDigestOrExact' | 'matchRepository' }
  | { readonly type: 'exactReference' | 'exactRepository'; readonly name: Reference }
  | { readonly type: 'remapIdentity'; readonly prefix: string; readonly signedPrefix: string };

/** Bytes. */
const LONGEST_POLICY = 1 << 20;
const DOCUMENT = 'signature policy';

/** @throws TinyrunError `invalid` naming the field; a key that is not known is an error, for it may be a slip of a known one */
export function parsePolicy(bytes: Uint8Array): SignaturePolicy {
  const shape = shapeOf(DOCUMENT);
  const raw = parseJsonObject(bytes, DOCUMENT, LONGEST_POLICY);
  onlyKeys(raw, ['default', 'transports'], '');
  const transports = shape.object(raw.transports ?? {}, 'transports');
  const docker = shape.object(transports.docker ?? {}, 'transports.docker');
  return {
    default: requirements(raw.default, 'default', shape),
    scopes: new Map(
      Object.entries(docker).map(([scope, list]) => [
        scope,
        requirements(list, `transports.docker.${scope}`, shape),
      ]),
    ),
  };
}

/** The requirements of the narrowest scope that an image is in. */
export function requirementsFor(policy: SignaturePolicy, reference: Reference): readonly Requirement[] {
  const scope = scopesOf(reference).find((one) => policy.scopes.has(one));
  return (scope === undefined ? undefined : policy.scopes.get(scope)) ?? policy.default;
}

/** From the image itself to everything, as containers/image orders them. */
export function scopesOf(reference: Reference): string[] {
  const repository = canonicalRepository(reference);
  const { tag, digest, registry } = reference;
  const scopes = [digest === undefined ? `${repository}:${tag ?? 'latest'}` : `${repository}@${digest}`];
  for (let name = repository; name.includes('/'); name = name.slice(0, name.lastIndexOf('/')))
    scopes.push(name);
  scopes.push(registry);
  let host = registry.replace(/:\d+$/, '');
  for (let dot = host.indexOf('.'); dot >= 0; dot = host.indexOf('.')) {
    host = host.slice(dot + 1);
    scopes.push(`*.${host}`);
  }
  return [...scopes, ''];
}

function requirements(value: unknown, field: string, shape: Shape): readonly Requirement[] {
  if (!Array.isArray(value) || value.length === 0) throw shape.fail(field, 'a list of requirements');
  return value.map((one: unknown, at) => {
    const place = `${field}[${at}]`;
    return requirement(shape.object(one, place), shape.within(place), place);
  });
}

function requirement(raw: JsonObject, shape: Shape, place: string): Requirement {
  const type = shape.text(raw, 'type');
  if (type === 'insecureAcceptAnything' || type === 'reject') {
    onlyKeys(raw, ['type'], place);
    return { type };
  }
  if (type === 'signedBy') return { type: 'unsupported', what: 'signatures by GPG keys ("signedBy")' };
  if (type !== 'sigstoreSigned') throw shape.fail('type', 'a known requirement');
  onlyKeys(raw, SIGSTORE_KEYS, place);
  const beyond = ['fulcio', 'pki', ...REKOR].find((key) => raw[key] !== undefined);
  if (beyond !== undefined) return { type: 'unsupported', what: `"${beyond}": only public keys` };
  const keyPaths = [...one(shape.text(raw, 'keyPath')), ...(shape.texts(raw, 'keyPaths') ?? [])];
  const encoded = [...one(shape.text(raw, 'keyData')), ...(shape.texts(raw, 'keyDatas') ?? [])];
  const given = ['keyPath', 'keyPaths', 'keyData', 'keyDatas'].filter((key) => raw[key] !== undefined);
  if (given.length !== 1 || keyPaths.length + encoded.length === 0)
    throw shape.fail('keyPath', 'given, or else one of "keyPaths", "keyData" and "keyDatas"');
  return {
    type,
    keyPaths,
    keyDatas: encoded.map((text) => Buffer.from(text, 'base64').toString('utf8')),
    identity: identity(raw.signedIdentity, shape),
  };
}

const REKOR = ['rekorPublicKeyPath', 'rekorPublicKeyPaths', 'rekorPublicKeyData', 'rekorPublicKeyDatas'];
const SIGSTORE_KEYS = [
  'type',
  'keyPath',
  'keyPaths',
  'keyData',
  'keyDatas',
  'fulcio',
  'pki',
  'signedIdentity',
  ...REKOR,
];

function identity(value: unknown, outer: Shape): SignedIdentity {
  if (value === undefined) return { type: 'matchRepoDigestOrExact' };
  const raw = outer.object(value, 'signedIdentity');
  const shape = outer.within('signedIdentity');
  const type = shape.text(raw, 'type');
  const text = (field: string): string => {
    const found = shape.text(raw, field);
    if (found === undefined) throw shape.fail(field, 'given');
    return found;
  };
  switch (type) {
    case 'matchExact':
    case 'matchRepoDigestOrExact':
    case 'matchRepository':
      onlyKeys(raw, ['type'], 'signedIdentity');
      return { type };
    case 'exactReference':
      onlyKeys(raw, ['type', 'dockerReference'], 'signedIdentity');
      return { type, name: parseReference(text('dockerReference')) };
    case 'exactRepository':
      onlyKeys(raw, ['type', 'dockerRepository'], 'signedIdentity');
      return { type, name: parseReference(text('dockerRepository')) };
    case 'remapIdentity':
      onlyKeys(raw, ['type', 'prefix', 'signedPrefix'], 'signedIdentity');
      return { type, prefix: text('prefix'), signedPrefix: text('signedPrefix') };
    default:
      throw shape.fail('type', 'a known identity');
  }
}

function one(text: string | undefined): readonly string[] {
  return text === undefined ? [] : [text];
}

function onlyKeys(raw: JsonObject, known: readonly string[], place: string): void {
  const other = Object.keys(raw).find((key) => !known.includes(key));
  if (other === undefined) return;
  throw new TinyrunError(
    'invalid',
    `Cannot read ${DOCUMENT}: "${printable(other, 60)}"${place === '' ? '' : ` in "${printable(place, 80)}"`} is not known`,
    { hint: `Known are ${known.join(', ')}` },
  );
}

/**
 * Whether the name in a signature is that of the image, by the rule of the policy.
 * @param wanted the image as it is pulled, with a tag or a digest
 * @param signed what the signature says; cosign writes no tag
 */
export function identityMatches(rule: SignedIdentity, wanted: Reference, signed: Reference): boolean {
  switch (rule.type) {
    case 'matchExact':
      return isExact(wanted, signed);
    case 'matchRepoDigestOrExact':
      return wanted.digest === undefined ? isExact(wanted, signed) : isSameRepository(wanted, signed);
    case 'matchRepository':
      return isSameRepository(wanted, signed);
    case 'exactReference':
      return isExact(rule.name, signed);
    case 'exactRepository':
      return isSameRepository(rule.name, signed);
    case 'remapIdentity': {
      const mapped = remapped(wanted, rule);
      return identityMatches({ type: 'matchRepoDigestOrExact' }, mapped, signed);
    }
  }
}

function isSameRepository(a: Reference, b: Reference): boolean {
  return canonicalRepository(a) === canonicalRepository(b);
}

/** A name without tag and digest is none: it would stand for whatever is there. */
function isExact(a: Reference, b: Reference): boolean {
  const isWhole = a.tag !== undefined || a.digest !== undefined;
  return isWhole && isSameRepository(a, b) && a.tag === b.tag && a.digest === b.digest;
}

function remapped(
  wanted: Reference,
  { prefix, signedPrefix }: { readonly prefix: string; readonly signedPrefix: string },
): Reference {
  const name = canonicalRepository(wanted);
  const isBelow = name === prefix || name.startsWith(`${prefix}/`);
  if (!isBelow) return wanted;
  const { registry, repository } = parseReference(signedPrefix + name.slice(prefix.length));
  return { ...wanted, registry, repository };
}
