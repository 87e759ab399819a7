import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compileGlob } from '../../../src/build/glob.ts';
import { ignoreMatcher, parseIgnore } from '../../../src/build/ignore.ts';

describe('parseIgnore()', () => {
  it.each<[string, string, boolean]>([
    ['node_modules', 'node_modules/a/b', true],
    ['node_modules', 'sub/node_modules', false],
    ['**/node_modules', 'sub/deep/node_modules/x', true],
    ['/abs', 'abs', true],
    [' spaced  ', 'spaced', true],
    ['# no pattern', '# no pattern', false],
    ['\ufeffa', 'a', true],
    ['a/./b/../c/', 'a/c', true],
    ['*.log', 'a.log', true],
    ['*.log', 'sub/a.log', false],
    ['**/*.log', 'a.log', true],
    ['*/temp*', 'x/temporary/file', true],
    ['temp?', 'temp1', true],
    ['temp?', 'temp', false],
    ['docs\n!docs/README', 'docs/README', false],
    ['docs\n!docs/README', 'docs/x', true],
    ['!docs/README\ndocs', 'docs/README', true],
    ['*\n!src/**\nsrc/**/*.tmp', 'src/a/b.ts', false],
    ['*\n!src/**\nsrc/**/*.tmp', 'src/a/b.tmp', true],
    ['[a-c]x', 'bx', true],
    ['[^a-c]x', 'bx', false],
    ['a\\*b', 'a*b', true],
    ['a\\*b', 'aab', false],
    ['**foo', 'xfoo', true],
    ['é?', 'é😀', true],
  ])('%j ignores %s: %s', (file, path, expected) => {
    expect(parseIgnore(file).ignored(path)).toBe(expected);
  });

  it.each(['!', '[', 'a[', '[]', '[a', 'x\\'])('refuses %s', (pattern) => {
    expect(() => parseIgnore(pattern)).toThrow();
  });

  it('knows where it need not look', () => {
    const matcher = parseIgnore('*\n!src/lib/**\n!*.md\n');
    expect(['src', 'src/lib', 'node_modules'].map((path) => matcher.mayTakeBack(path))).toEqual([
      true,
      true,
      true,
    ]);
    const exact = parseIgnore('*\n!src/lib\n');
    expect(['src', 'node_modules'].map((path) => exact.mayTakeBack(path))).toEqual([true, false]);
  });

  // With exceptions the two differ in moby, too: there, a walk does not go back to what a parent did not need to be asked.
  it('says the same in a walk as for a path alone', () => {
    const part = fc.constantFrom('a', 'b', 'ab', 'a.b');
    const paths = fc.array(part, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/'));
    const patterns = fc.array(
      fc.tuple(fc.constantFrom('', '**/', '*/', 'a/'), fc.constantFrom('a', 'a*', '*', '**', '?', 'b')),
      { minLength: 1, maxLength: 4 },
    );
    fc.assert(
      fc.property(paths, patterns, (path, parts) => {
        const matcher = ignoreMatcher(parts.map((each) => each.join('')));
        const names = path.split('/');
        let step = matcher.step(names[0] ?? '', undefined);
        for (let end = 2; end <= names.length; end++)
          step = matcher.step(names.slice(0, end).join('/'), step.state);
        expect(step.ignored).toBe(matcher.ignored(path));
      }),
    );
  });

  it('is not slowed down by a hostile pattern', () => {
    const matcher = parseIgnore(`${'**/a*'.repeat(30)}/b\n${'*a'.repeat(60)}b\n`);
    const path = `${'aaaa/'.repeat(300)}c`;
    const began = performance.now();
    matcher.ignored(path);
    expect(performance.now() - began).toBeLessThan(3000);
  });
});

describe('compileGlob()', () => {
  it.each<[string, string, boolean]>([
    ['*', 'a/b', false],
    ['*/*', 'a/b', true],
    ['a**b', 'axb', true],
    ['a**b', 'a/b', false],
    ['[\\-x]', '-', true],
    ['[^/]', '/', false],
    ['?', '/', false],
  ])('%s matches %s as Go does: %s', (pattern, path, expected) => {
    expect(compileGlob(pattern, { doubleStar: false }).matches(path)).toBe(expected);
  });
});
