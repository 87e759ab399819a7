import { readFileSync } from 'node:fs';
import { errorCode, TinyrunError } from '../errors.ts';
import type { Digest } from '../oci/digest.ts';
import { familiarName, type Reference } from '../registry/reference.ts';
import type { Registry } from '../registry/registry.ts';
import {
  parsePolicy,
  type Requirement,
  requirementsFor,
  type SignaturePolicy,
  type SigstoreSigned,
} from '../registry/signature-policy.ts';
import type { Core } from './core.ts';

/** What is checked of an image before anything of it is unpacked. */
export interface PulledDigests {
  /** What the name points to: an index, or the manifest. */
  readonly target: Digest;
  readonly manifest: Digest;
}

export type VerifyImage = (registry: Registry, reference: Reference, digests: PulledDigests) => Promise<void>;

/**
 * What checks pulled images against the user's policy, or the machine's. Where there is no policy every image is taken.
 * @param path of another policy, in their place
 * @throws TinyrunError `invalid` for a policy that cannot be read: nothing is pulled then
 */
export function signatureChecker(core: Core, path?: string): VerifyImage {
  const found = path === undefined ? userPolicy(core) : readPolicy(path);
  if (path !== undefined && found === undefined)
    throw new TinyrunError('not_found', `open ${path}: no such file or directory`);
  if (found === undefined) return async () => {};
  const { policy, file } = found;
  return async (registry, reference, digests) => {
    for (const requirement of requirementsFor(policy, reference)) {
      const fault = await faultBy(requirement, { registry, reference, digests });
      if (fault === undefined) continue;
      throw new TinyrunError('denied', `Cannot pull "${familiarName(reference)}": ${fault}`, {
        hint: `So says the signature policy "${file}"`,
      });
    }
  };
}

interface Policy {
  readonly policy: SignaturePolicy;
  readonly file: string;
}

function userPolicy(core: Core): Policy | undefined {
  const home = core.env.HOME;
  const own = home === undefined ? undefined : readPolicy(`${home}/.config/containers/policy.json`);
  return own ?? readPolicy('/etc/containers/policy.json');
}

function readPolicy(file: string): Policy | undefined {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(file);
  } catch (error) {
    const code = errorCode(error) ?? '';
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw new TinyrunError('invalid', `Cannot read the signature policy "${file}"`, { cause: error });
  }
  try {
    return { policy: parsePolicy(bytes), file };
  } catch (cause) {
    throw new TinyrunError('invalid', `Cannot use the signature policy "${file}"`, { cause });
  }
}

interface Subject {
  readonly registry: Registry;
  readonly reference: Reference;
  readonly digests: PulledDigests;
}

/** Undefined where the requirement holds. */
async function faultBy(requirement: Requirement, subject: Subject): Promise<string | undefined> {
  switch (requirement.type) {
    case 'insecureAcceptAnything':
      return undefined;
    case 'reject':
      return 'the signature policy rejects it';
    case 'unsupported':
      return `the signature policy asks for ${requirement.what}, which tinyrun cannot check`;
    case 'sigstoreSigned':
      return signatureFault(requirement, subject);
  }
}

/** One good signature is enough, whatever others there are. */
async function signatureFault(
  { keyPaths, keyDatas, identity }: SigstoreSigned,
  { registry, reference, digests }: Subject,
): Promise<string | undefined> {
  const { faultOf, fetchSignatures, parsePublicKey } = await import('../registry/signatures.ts');
  const keys = [
    ...keyPaths.map((path) => parsePublicKey(readKey(path), `"${path}"`)),
    ...keyDatas.map((pem, at) => parsePublicKey(pem, `${at + 1} of the policy`)),
  ];
  const wanted = [...new Set([digests.manifest, digests.target])];
  const faults: string[] = [];
  for (const digest of wanted) {
    for (const signature of await fetchSignatures(registry, reference, digest)) {
      const fault = faultOf(signature, { keys, digests: [digest], reference, identity });
      if (fault === undefined) return undefined;
      faults.push(fault);
    }
  }
  if (faults.length === 0) return 'a signature was required, but no signature exists';
  const reasons = [...new Set(faults)].slice(0, 3).join('; ');
  return `none of its ${faults.length} signature${faults.length === 1 ? '' : 's'} is good: ${reasons}`;
}

function readKey(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (cause) {
    throw new TinyrunError('invalid', `Cannot read the key "${path}" of the signature policy`, { cause });
  }
}
