import { describe, expect, it } from 'vitest';
import { parseReference, withDefaultTag } from '../../../src/registry/reference.ts';
import {
  identityMatches,
  parsePolicy,
  requirementsFor,
  type SignedIdentity,
  scopesOf,
} from '../../../src/registry/signature-policy.ts';

const policy = (value: unknown) => parsePolicy(Buffer.from(JSON.stringify(value)));
const accept = { type: 'insecureAcceptAnything' };
const reject = { type: 'reject' };
const DIGEST = `sha256:${'a'.repeat(64)}`;

describe('scopesOf()', () => {
  it('goes from the image to everything', () => {
    expect(scopesOf(parseReference('r.example.com:5000/a/b:v'))).toEqual([
      'r.example.com:5000/a/b:v',
      'r.example.com:5000/a/b',
      'r.example.com:5000/a',
      'r.example.com:5000',
      '*.example.com',
      '*.com',
      '',
    ]);
    expect(scopesOf(parseReference(`busybox@${DIGEST}`))[0]).toBe(`docker.io/library/busybox@${DIGEST}`);
  });
});

describe('requirementsFor()', () => {
  const parsed = policy({
    default: [reject],
    transports: {
      docker: {
        'docker.io/library': [accept],
        'docker.io/library/busybox:1': [reject],
        '*.example.com': [accept],
      },
      'docker-daemon': { '': [accept] },
    },
  });
  it.each([
    ['busybox:2', 'insecureAcceptAnything'],
    ['busybox:1', 'reject'],
    ['other/x', 'reject'],
    ['r.example.com/x', 'insecureAcceptAnything'],
    ['example.com/x', 'reject'],
    ['docker.io.evil.com/library/x', 'reject'],
  ])('of %s is %s', (name, type) => {
    expect(requirementsFor(parsed, withDefaultTag(parseReference(name)))[0]?.type).toBe(type);
  });
});

describe('parsePolicy()', () => {
  it('reads keys and identities', () => {
    const parsed = policy({
      default: [
        { type: 'sigstoreSigned', keyPath: '/k.pub', signedIdentity: { type: 'matchRepository' } },
        { type: 'sigstoreSigned', keyDatas: [Buffer.from('PEM').toString('base64')] },
        { type: 'signedBy', keyType: 'GPGKeys', keyPath: '/x' },
        { type: 'sigstoreSigned', fulcio: {}, rekorPublicKeyPath: '/r' },
      ],
    });
    expect(parsed.default).toEqual([
      { type: 'sigstoreSigned', keyPaths: ['/k.pub'], keyDatas: [], identity: { type: 'matchRepository' } },
      {
        type: 'sigstoreSigned',
        keyPaths: [],
        keyDatas: ['PEM'],
        identity: { type: 'matchRepoDigestOrExact' },
      },
      { type: 'unsupported', what: expect.stringContaining('GPG') },
      { type: 'unsupported', what: expect.stringContaining('"fulcio"') },
    ]);
  });

  it.each<[unknown, string]>([
    [{}, '"default" is not a list of requirements'],
    [{ default: [] }, '"default" is not a list of requirements'],
    [{ default: [accept], transport: {} }, '"transport" is not known'],
    [{ default: [{ type: 'accept' }] }, 'a known requirement'],
    [{ default: [{ ...reject, keyPath: 'x' }] }, '"keyPath" in "default[0]" is not known'],
    [{ default: [{ type: 'sigstoreSigned' }] }, 'keyPath'],
    [{ default: [{ type: 'sigstoreSigned', keyPath: 'a', keyData: 'b' }] }, 'keyPath'],
    [{ default: [{ type: 'sigstoreSigned', keypath: 'a' }] }, '"keypath"'],
    [
      { default: [{ type: 'sigstoreSigned', keyPath: 'a', signedIdentity: { type: 'any' } }] },
      'a known identity',
    ],
    [{ default: [accept], transports: { docker: { x: [] } } }, 'transports.docker.x'],
  ])('refuses %j', (value, why) => {
    expect(() => policy(value)).toThrow(why);
  });
});

describe('identityMatches()', () => {
  const exact: SignedIdentity = { type: 'matchRepoDigestOrExact' };
  it.each<[SignedIdentity, string, string, boolean]>([
    [exact, 'r.io/a:1', 'r.io/a:1', true],
    [exact, 'r.io/a:1', 'r.io/a:2', false],
    [exact, 'r.io/a:1', 'r.io/a', false],
    [exact, `r.io/a@${DIGEST}`, 'r.io/a', true],
    [exact, `r.io/a@${DIGEST}`, 'r.io/b', false],
    [{ type: 'matchExact' }, `r.io/a@${DIGEST}`, 'r.io/a', false],
    [{ type: 'matchRepository' }, 'busybox:1', 'index.docker.io/library/busybox', true],
    [{ type: 'matchRepository' }, 'busybox:1', 'r.io/library/busybox', false],
    [{ type: 'exactReference', name: parseReference('r.io/x:1') }, 'r.io/a:1', 'r.io/x:1', true],
    [{ type: 'exactReference', name: parseReference('r.io/x:1') }, 'r.io/x:1', 'r.io/x:2', false],
    [{ type: 'exactRepository', name: parseReference('r.io/x') }, 'r.io/a:1', 'r.io/x:7', true],
    [
      { type: 'remapIdentity', prefix: 'm.io/hub', signedPrefix: 'docker.io' },
      'm.io/hub/a/b:1',
      'docker.io/a/b:1',
      true,
    ],
    [
      { type: 'remapIdentity', prefix: 'm.io/hub', signedPrefix: 'docker.io' },
      'm.io/hubs/a:1',
      'docker.io/a:1',
      false,
    ],
  ])('%j of %s signed as %s: %s', (rule, wanted, signed, holds) => {
    expect(identityMatches(rule, parseReference(wanted), parseReference(signed))).toBe(holds);
  });
});
