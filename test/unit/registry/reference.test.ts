import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  canonicalName,
  canonicalRepository,
  familiarName,
  familiarRepository,
  parseReference,
  withDefaultTag,
} from '../../../src/registry/reference.ts';

const HEX = '0123456789abcdef'.repeat(4);
const DIGEST = `sha256:${HEX}`;

// text → [registry, repository, tag, digest]
const GOOD: [string, string, string, string | undefined, string | undefined][] = [
  ['busybox', 'docker.io', 'library/busybox', undefined, undefined],
  ['busybox:1.37', 'docker.io', 'library/busybox', '1.37', undefined],
  [`busybox@${DIGEST}`, 'docker.io', 'library/busybox', undefined, DIGEST],
  [`busybox:1.37@${DIGEST}`, 'docker.io', 'library/busybox', '1.37', DIGEST],
  ['user/app', 'docker.io', 'user/app', undefined, undefined],
  ['a/b/c/d', 'docker.io', 'a/b/c/d', undefined, undefined],
  ['library/busybox', 'docker.io', 'library/busybox', undefined, undefined],
  ['docker.io/busybox', 'docker.io', 'library/busybox', undefined, undefined],
  ['docker.io/user/app', 'docker.io', 'user/app', undefined, undefined],
  ['index.docker.io/busybox', 'docker.io', 'library/busybox', undefined, undefined],
  ['registry-1.docker.io/busybox', 'registry-1.docker.io', 'busybox', undefined, undefined],
  ['localhost/x', 'localhost', 'x', undefined, undefined],
  ['localhost:5000/x:1', 'localhost:5000', 'x', '1', undefined],
  ['localhost:5000', 'docker.io', 'library/localhost', '5000', undefined],
  ['127.0.0.1:5000/a/b', '127.0.0.1:5000', 'a/b', undefined, undefined],
  ['[::1]:5000/x', '[::1]:5000', 'x', undefined, undefined],
  ['[fd00:1:2::3]/x/y:t', '[fd00:1:2::3]', 'x/y', 't', undefined],
  ['ghcr.io/x', 'ghcr.io', 'x', undefined, undefined],
  ['foo/bar', 'docker.io', 'foo/bar', undefined, undefined],
  ['Foo/bar', 'Foo', 'bar', undefined, undefined],
  ['FOO.com:80/bar', 'FOO.com:80', 'bar', undefined, undefined],
  ['xn--7o8h.com/myimage', 'xn--7o8h.com', 'myimage', undefined, undefined],
  ['a-b.c/x', 'a-b.c', 'x', undefined, undefined],
  ['foo_bar', 'docker.io', 'library/foo_bar', undefined, undefined],
  ['foo__bar', 'docker.io', 'library/foo__bar', undefined, undefined],
  ['foo----bar', 'docker.io', 'library/foo----bar', undefined, undefined],
  ['foo.bar/x', 'foo.bar', 'x', undefined, undefined],
  ['x:_tag', 'docker.io', 'library/x', '_tag', undefined],
  ['x:Tag.With-All_9', 'docker.io', 'library/x', 'Tag.With-All_9', undefined],
  [`x:${'a'.repeat(128)}`, 'docker.io', 'library/x', 'a'.repeat(128), undefined],
  [HEX.slice(0, 63), 'docker.io', `library/${HEX.slice(0, 63)}`, undefined, undefined],
  [`${HEX}:tag`, 'docker.io', `library/${HEX}`, 'tag', undefined],
  [`r.io/${'a'.repeat(255)}`, 'r.io', 'a'.repeat(255), undefined, undefined],
  ['host:99999/x', 'host:99999', 'x', undefined, undefined],
];

const FORMAT = 'invalid reference format';
const BAD: [string, string, string][] = [
  ['', 'invalid', FORMAT],
  [' busybox', 'invalid', FORMAT],
  ['busybox ', 'invalid', FORMAT],
  ['busybox\n', 'invalid', FORMAT],
  ['busybox:', 'invalid', FORMAT],
  ['busybox@', 'invalid', FORMAT],
  [':tag', 'invalid', FORMAT],
  ['@sha256:abc', 'invalid', FORMAT],
  ['busybox@sha256:abc', 'invalid', FORMAT],
  ['busybox:t:u', 'invalid', FORMAT],
  [`x:${'a'.repeat(129)}`, 'invalid', FORMAT],
  ['x:.dot', 'invalid', FORMAT],
  ['x:-dash', 'invalid', FORMAT],
  ['/x', 'invalid', FORMAT],
  ['x/', 'invalid', FORMAT],
  ['x//y', 'invalid', FORMAT],
  ['../x', 'invalid', FORMAT],
  ['r.io/../x', 'invalid', FORMAT],
  ['r.io/x/..', 'invalid', FORMAT],
  ['-x', 'invalid', FORMAT],
  ['x-', 'invalid', FORMAT],
  ['x___y', 'invalid', FORMAT],
  ['x._y', 'invalid', FORMAT],
  ['x..y', 'invalid', FORMAT],
  ['https://r.io/x', 'invalid', FORMAT],
  ['user:secret@r.io/x', 'invalid', FORMAT],
  ['a_b.c/x', 'invalid', FORMAT],
  ['-host.io/x', 'invalid', FORMAT],
  ['[::1/x', 'invalid', FORMAT],
  ['[::g]/x', 'invalid', FORMAT],
  ['host:/x', 'invalid', FORMAT],
  ['host:5x/x', 'invalid', FORMAT],
  ['bücher/x', 'invalid', FORMAT],
  ['Busybox', 'invalid', `${FORMAT}: repository name (library/Busybox) must be lowercase`],
  ['r.io/Foo/bar:1', 'invalid', `${FORMAT}: repository name (Foo/bar) must be lowercase`],
  ['docker.io/X', 'invalid', `${FORMAT}: repository name (library/X) must be lowercase`],
  [HEX, 'invalid', `invalid repository name (${HEX}), cannot specify 64-byte hexadecimal strings`],
  [`r.io/${'a'.repeat(256)}`, 'invalid', `${FORMAT}: repository name must not be more than 255 characters`],
  [`x@md5:${HEX.slice(0, 32)}`, 'invalid', 'unsupported digest algorithm'],
  [`x@sha256:${HEX}00`, 'invalid', 'invalid checksum digest length'],
  [`x@sha256:${HEX.toUpperCase()}`, 'invalid', 'invalid checksum digest format'],
  [`x@sha512:${HEX}${HEX}`, 'unsupported', 'only sha256 is supported'],
];

describe('parseReference()', () => {
  it.each(GOOD)('reads "%s"', (text, registry, repository, tag, digest) => {
    const expected = { registry, repository, ...(tag && { tag }), ...(digest && { digest }) };
    expect(parseReference(text)).toEqual(expected);
  });

  it.each(BAD)('refuses "%s"', (text, kind, message) => {
    let error: unknown;
    try {
      parseReference(text);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toMatchObject({ kind, message: expect.stringContaining(message) });
    if (message === FORMAT) expect(error).toMatchObject({ message: FORMAT });
  });

  it('reads its own canonical and familiar names back', () => {
    const component = fc.stringMatching(/^[a-z0-9]{1,8}([._-][a-z0-9]{1,4}){0,2}$/);
    const host = fc.constantFrom(
      'docker.io',
      'localhost',
      'localhost:5000',
      'r.io',
      '[::1]:5000',
      '10.0.0.1:80',
    );
    const tag = fc.option(fc.stringMatching(/^\w[\w.-]{0,20}$/), { nil: undefined });
    fc.assert(
      fc.property(
        host,
        fc.array(component, { minLength: 1, maxLength: 4 }),
        tag,
        fc.boolean(),
        (at, path, one, pin) => {
          // docker.io/localhost/x has no familiar form of its own in Docker either.
          fc.pre(at !== 'docker.io' || (path[0] !== 'localhost' && !path[0]?.includes('.')));
          const text = `${at}/${path.join('/')}${one === undefined ? '' : `:${one}`}${pin ? `@${DIGEST}` : ''}`;
          const reference = withDefaultTag(parseReference(text));
          expect(parseReference(canonicalName(reference))).toEqual(reference);
          expect(parseReference(familiarName(reference))).toEqual(reference);
        },
      ),
    );
  });

  it('ends quickly on long hostile names', () => {
    const started = performance.now();
    for (const text of [
      `${'a'.repeat(50_000)}!`,
      `${'a.'.repeat(25_000)}!/x`,
      `x/${'a-'.repeat(25_000)}`,
      '_'.repeat(50_000),
    ]) {
      expect(() => parseReference(text)).toThrow();
    }
    expect(performance.now() - started).toBeLessThan(500);
  });
});

describe('names of a reference', () => {
  it.each([
    ['busybox', 'busybox:latest', 'docker.io/library/busybox:latest', 'busybox'],
    ['user/app:1', 'user/app:1', 'docker.io/user/app:1', 'user/app'],
    ['library/a/b', 'library/a/b:latest', 'docker.io/library/a/b:latest', 'library/a/b'],
    ['r.io/library/x', 'r.io/library/x:latest', 'r.io/library/x:latest', 'r.io/library/x'],
    [`x@${DIGEST}`, `x@${DIGEST}`, `docker.io/library/x@${DIGEST}`, 'x'],
    [`x:1@${DIGEST}`, `x:1@${DIGEST}`, `docker.io/library/x:1@${DIGEST}`, 'x'],
  ])('familiarName(), canonicalName() of "%s"', (text, familiar, canonical, repository) => {
    const reference = parseReference(text);
    expect(familiarName(reference)).toBe(familiar);
    expect(canonicalName(reference)).toBe(canonical);
    expect(familiarRepository(reference)).toBe(repository);
    expect(canonical.startsWith(canonicalRepository(reference))).toBe(true);
  });
});
