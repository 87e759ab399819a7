import { createHash, generateKeyPairSync, type KeyObject, sign } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect } from 'vitest';
import {
  type BuiltImage,
  busyboxImage,
  HOST_ARCHITECTURE,
  imageOf,
  indexOf,
  layerOf,
} from '../harness/images.ts';
import { type OwnRegistry, startOwnRegistry } from '../harness/own-registry.ts';
import { needing } from '../harness/requires.ts';
import { makeSandbox, type Sandbox, show } from '../harness/sandbox.ts';

const it = needing('root', 'overlay', 'busybox-static');
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';

let box: Sandbox;
let registry: OwnRegistry;
let image: BuiltImage;
const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
const others = generateKeyPairSync('ec', { namedCurve: 'P-256' });

beforeAll(async () => {
  registry = await startOwnRegistry();
  box = makeSandbox(registry.address);
  image = await busyboxImage();
  mkdirSync(join(box.directory, '.config/containers'), { recursive: true });
  writeFileSync(join(box.directory, 'cosign.pub'), pem(keys.publicKey));
});
afterAll(async () => {
  await registry.stop();
  await box.dispose();
});
beforeEach(() => rmSync(policyFile(), { force: true }));

const pem = (key: KeyObject): string => key.export({ type: 'spki', format: 'pem' }).toString();
const policyFile = (): string => join(box.directory, '.config/containers/policy.json');
const digestOf = (bytes: Uint8Array): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

const require = (more: object = {}, scopes: object = {}): void =>
  writeFileSync(
    policyFile(),
    JSON.stringify({
      default: [
        {
          type: 'sigstoreSigned',
          keyPath: join(box.directory, 'cosign.pub'),
          signedIdentity: { type: 'matchRepository' },
          ...more,
        },
      ],
      transports: { docker: scopes },
    }),
  );

interface Signing {
  readonly digest?: string;
  /** What the signature is for; default: the repository, as cosign writes it. */
  readonly name?: string;
  readonly claimed?: string;
  readonly key?: KeyObject;
  /** Under the tag of cosign, or as a referrer. */
  readonly as?: 'tag' | 'referrer';
}

async function put(path: string, body: Uint8Array, type: string): Promise<void> {
  const init = { body: new Uint8Array(body), headers: { 'content-type': type } };
  const begun = path.includes('/blobs/')
    ? await fetch(path.replace(/uploads\/.*/, 'uploads/'), { method: 'POST' })
    : undefined;
  const url =
    begun === undefined
      ? path
      : `${new URL(begun.headers.get('location') ?? '', path)}?digest=${digestOf(body)}`;
  const response = await fetch(url, { method: 'PUT', ...init });
  expect(response.status, await response.text()).toBe(201);
}

/** As `cosign sign --key` does it. */
async function signed(repository: string, signing: Signing = {}): Promise<void> {
  const digest = signing.digest ?? image.target.descriptor.digest;
  const payload = Buffer.from(
    JSON.stringify({
      critical: {
        identity: { 'docker-reference': signing.name ?? `index.docker.io/${repository}` },
        image: { 'docker-manifest-digest': signing.claimed ?? digest },
        type: 'cosign container image signature',
      },
      optional: null,
    }),
  );
  const base = `http://${registry.address}/v2/${repository}`;
  const config = Buffer.from('{}');
  for (const blob of [payload, config]) await put(`${base}/blobs/uploads/`, blob, 'application/octet-stream');
  const describe = (bytes: Buffer, mediaType: string) => ({
    mediaType,
    size: bytes.length,
    digest: digestOf(bytes),
  });
  const referrer = {
    artifactType: 'application/vnd.dev.cosign.artifact.sig.v1+json',
    subject: { mediaType: MANIFEST, digest, size: image.target.descriptor.size },
  };
  const manifest = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MANIFEST,
      ...(signing.as === 'referrer' ? referrer : {}),
      config: describe(config, 'application/vnd.oci.image.config.v1+json'),
      layers: [
        {
          ...describe(payload, 'application/vnd.dev.cosign.simplesigning.v1+json'),
          annotations: {
            'dev.cosignproject.cosign/signature': sign(
              'sha256',
              payload,
              signing.key ?? keys.privateKey,
            ).toString('base64'),
          },
        },
      ],
    }),
  );
  const name = signing.as === 'referrer' ? digestOf(manifest) : `${digest.replace(':', '-')}.sig`;
  await put(`${base}/manifests/${name}`, manifest, MANIFEST);
}

async function refused(args: readonly string[], why: string): Promise<void> {
  const outcome = await box.run(args);
  expect(outcome.code, show(outcome)).toBe(1);
  expect(outcome.stderr).toContain(why);
  // Not one layer of it was unpacked.
  const layers = join(box.root, 'layers');
  expect(existsSync(layers) ? readdirSync(layers) : []).toEqual([]);
}

describe('a signature policy', () => {
  it.each<[string, Signing | undefined, string]>([
    ['no signature', undefined, 'a signature was required, but no signature exists'],
    ['another key', { key: others.privateKey }, 'it was not made by a key of the policy'],
    ['another image', { claimed: `sha256:${'1'.repeat(64)}` }, `it is for "sha256:${'1'.repeat(64)}"`],
    ['another name', { name: 'docker.io/team/else' }, 'it is for the name "docker.io/team/else"'],
    ['no name', { name: '' }, 'invalid reference format'],
  ])('refuses an image with %s', async (what, signing, why) => {
    const repository = `bad/${what.replaceAll(' ', '-')}`;
    await registry.publish(image, repository, '1');
    if (signing !== undefined) await signed(repository, signing);
    require();
    await refused(['pull', `${repository}:1`], why);
    await refused(['copy', `docker://${repository}:1`, 'oci:out'], why);
    expect(await box.ok(['images', '-q'])).toBe('');
  });

  it('refuses a signature that names no tag, where the policy wants one, and says what helps', async () => {
    await registry.publish(image, 'bad/tag', '1');
    await signed('bad/tag');
    require({ signedIdentity: { type: 'matchExact' } });
    await refused(['pull', 'bad/tag:1'], '"matchRepository" in the policy would take it');
  });

  it('refuses what it says is refused, and what it cannot check', async () => {
    await registry.publish(image, 'bad/all', '1');
    require({}, { 'docker.io/bad': [{ type: 'reject' }] });
    await refused(['pull', 'bad/all:1'], 'Cannot pull "bad/all:1": the signature policy rejects it');
    require({}, { 'docker.io/bad/all:1': [{ type: 'signedBy', keyType: 'GPGKeys', keyPath: '/x' }] });
    await refused(['pull', 'bad/all:1'], 'which tinyrun cannot check');
    require({ keyPath: '/none.pub' });
    await refused(['pull', 'bad/all:1'], 'Cannot read the key "/none.pub"');
    require({ keyPath: policyFile() });
    await refused(['pull', 'bad/all:1'], 'it is no public key in PEM');
    writeFileSync(policyFile(), '{"default":[{"type":"acceptAnything"}]}');
    await refused(['pull', 'bad/all:1'], `Cannot use the signature policy "${policyFile()}"`);
    await refused(
      ['pull', '--signature-policy', '/none', 'bad/all:1'],
      'open /none: no such file or directory',
    );
  });

  it('takes a signed image, and what it says needs no signature', async () => {
    await registry.publish(image, 'good/tag', '1');
    await signed('good/tag', { key: others.privateKey, as: 'referrer' });
    await signed('good/tag');
    require();
    await box.ok(['pull', '-q', 'good/tag:1']);
    expect(await box.ok(['run', '--rm', 'good/tag:1', 'echo', 'signed'])).toBe('signed');
    await registry.publish(image, 'good/referrer', '1');
    await signed('good/referrer', { as: 'referrer', name: 'docker.io/good/referrer:1' });
    require({ signedIdentity: { type: 'matchExact' } });
    await box.ok(['pull', '-q', 'good/referrer:1']);
    await registry.publish(image, 'good/free', '1');
    require({}, { 'docker.io/good/free': [{ type: 'insecureAcceptAnything' }] });
    await box.ok(['pull', '-q', 'good/free:1']);
    const data = join(box.directory, 'data.json');
    const keyData = Buffer.from(pem(keys.publicKey)).toString('base64');
    const signedIdentity = { type: 'exactRepository', dockerRepository: 'docker.io/good/tag' };
    writeFileSync(data, JSON.stringify({ default: [{ type: 'sigstoreSigned', keyData, signedIdentity }] }));
    await box.ok(['pull', '-q', '--signature-policy', data, 'good/tag:1']);
  });

  it('takes an image of a signed index', async () => {
    const other = imageOf({
      layers: [await layerOf([{ name: 'x' }])],
      platform: { os: 'linux', architecture: 's390x' },
    });
    const index = indexOf([
      { image, platform: { os: 'linux', architecture: HOST_ARCHITECTURE } },
      { image: other, platform: { os: 'linux', architecture: 's390x' } },
    ]);
    await registry.publish(index, 'good/index', '1');
    require();
    const outcome = await box.run(['pull', 'good/index:1']);
    expect(outcome.stderr).toContain('no signature exists');
    await signed('good/index', { digest: index.target.descriptor.digest });
    await box.ok(['pull', '-q', 'good/index:1']);
  });
});
