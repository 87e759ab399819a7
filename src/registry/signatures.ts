import { createPublicKey, type KeyObject, verify } from 'node:crypto';
import { TinyrunError } from '../errors.ts';
import { type Digest, hexOf } from '../oci/digest.ts';
import type { Descriptor } from '../oci/image-spec.ts';
import { parseJsonObject, shapeOf } from './json-shape.ts';
import { printable } from './printable.ts';
import { familiarName, parseReference, type Reference } from './reference.ts';
import type { Registry } from './registry.ts';
import { parseServedManifest } from './server/served-manifest.ts';
import { identityMatches, type SignedIdentity } from './signature-policy.ts';

/** A signature as cosign makes it: some bytes, and a signature of them. */
export interface Signature {
  readonly payload: Uint8Array;
  readonly signature: Uint8Array;
}

const PAYLOAD_TYPE = 'application/vnd.dev.cosign.simplesigning.v1+json';
const ARTIFACT_TYPE = 'application/vnd.dev.cosign.artifact.sig.v1+json';
const SIGNATURE = 'dev.cosignproject.cosign/signature';
/** Bytes. */
const LONGEST_PAYLOAD = 64 << 10;
/** Of one image; each further one costs a request. */
const MOST_SIGNATURES = 64;

/**
 * The signatures of a manifest in its repository: under the tag `sha256-<hex>.sig`, where cosign puts them, and among its
 * referrers.
 * @see https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md
 */
export async function fetchSignatures(
  registry: Registry,
  reference: Reference,
  digest: Digest,
): Promise<Signature[]> {
  const { registry: host, repository } = reference;
  const manifests = [
    () => registry.manifest({ registry: host, repository, tag: `sha256-${hexOf(digest)}.sig` }),
    ...(await registry.referrers(reference, digest, ARTIFACT_TYPE))
      .filter(({ artifactType }) => artifactType === ARTIFACT_TYPE)
      .map((descriptor) => () => registry.manifestByDigest(reference, descriptor)),
  ];
  const found: Signature[] = [];
  for (const fetch of manifests.slice(0, MOST_SIGNATURES)) {
    const layers = await layersOf(fetch);
    for (const layer of layers) {
      const encoded = layer.annotations?.[SIGNATURE];
      if (layer.mediaType !== PAYLOAD_TYPE || encoded === undefined) continue;
      if (found.length >= MOST_SIGNATURES) return found;
      const payload = await registry.blobBytes(reference, layer, LONGEST_PAYLOAD);
      found.push({ payload, signature: Buffer.from(encoded, 'base64') });
    }
  }
  return found;
}

async function layersOf(
  fetch: () => Promise<{ readonly bytes: Uint8Array; readonly mediaType: string }>,
): Promise<readonly Descriptor[]> {
  try {
    const { bytes, mediaType } = await fetch();
    return parseServedManifest(bytes, mediaType).blobs.slice(1);
  } catch (error) {
    if (error instanceof TinyrunError && error.kind === 'not_found') return [];
    throw error;
  }
}

/** @param pem a public key, such as cosign.pub @throws TinyrunError `invalid` */
export function parsePublicKey(pem: string, where: string): KeyObject {
  try {
    return createPublicKey(pem);
  } catch (cause) {
    throw new TinyrunError('invalid', `Cannot use the key ${where}: it is no public key in PEM`, { cause });
  }
}

export interface SignatureCheck {
  readonly keys: readonly KeyObject[];
  /** Digests of which one must be signed: of the manifest, or of the index that names it. */
  readonly digests: readonly Digest[];
  /** As it is pulled. */
  readonly reference: Reference;
  readonly identity: SignedIdentity;
}

/** Undefined where the signature is good, else what is wrong with it. */
export function faultOf({ payload, signature }: Signature, check: SignatureCheck): string | undefined {
  if (!check.keys.some((key) => isSignedBy(key, payload, signature)))
    return 'it was not made by a key of the policy';
  // Nothing of it is looked at before it is known who has written it.
  let claim: Claim;
  try {
    claim = parseClaim(payload);
  } catch (error) {
    if (error instanceof TinyrunError) return error.message;
    throw error;
  }
  if (!check.digests.some((digest) => digest === claim.digest))
    return `it is for "${printable(claim.digest, 80)}"`;
  if (identityMatches(check.identity, check.reference, claim.reference)) return undefined;
  const signed = claim.reference.tag === undefined && claim.reference.digest === undefined;
  const advice = signed
    ? ' (without a tag, as cosign writes it: "matchRepository" in the policy would take it)'
    : '';
  return `it is for the name "${printable(claim.name, 200)}"${advice}, not "${familiarName(check.reference)}"`;
}

/** ECDSA and RSA (PKCS #1 v1.5) over SHA-256, Ed25519 over the bytes: cosign's kinds of keys. */
function isSignedBy(key: KeyObject, payload: Uint8Array, signature: Uint8Array): boolean {
  const isEdwards = key.asymmetricKeyType === 'ed25519' || key.asymmetricKeyType === 'ed448';
  try {
    return verify(isEdwards ? null : 'sha256', payload, key, signature);
  } catch {
    // Bytes that are no signature at all.
    return false;
  }
}

interface Claim {
  readonly digest: string;
  readonly name: string;
  readonly reference: Reference;
}

/** @see https://github.com/containers/image/blob/main/docs/containers-signature.5.md#json-data-format */
function parseClaim(payload: Uint8Array): Claim {
  const shape = shapeOf('signature');
  const raw = parseJsonObject(payload, 'signature', LONGEST_PAYLOAD);
  const critical = shape.object(raw.critical, 'critical');
  const within = shape.within('critical');
  const type = within.text(critical, 'type');
  if (type !== 'cosign container image signature' && type !== 'atomic container signature')
    throw within.fail('type', 'the type of an image signature');
  const image = within.object(critical.image, 'image');
  const identity = within.object(critical.identity, 'identity');
  const name = within.text(identity, 'docker-reference') ?? '';
  return {
    digest: within.text(image, 'docker-manifest-digest') ?? '',
    name,
    reference: parseReference(name),
  };
}
