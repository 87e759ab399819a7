// biome-ignore-all lint/suspicious/noTemplateCurlyInString: they are what is tested
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { expand, expandContent, expandWith, expandWords } from '../../../../src/build/dockerfile/expand.ts';

const values: Readonly<Record<string, string>> = {
  name: 'web',
  empty: '',
  path: 'src/lib/main.test.c',
  two: 'a b',
  stars: 'a*b*c',
};
const lookup = (name: string): string | undefined => (Object.hasOwn(values, name) ? values[name] : undefined);

describe('expand()', () => {
  it.each([
    ['$name', 'web'],
    ['${name}server', 'webserver'],
    ['$nameserver', ''],
    ['a-$unset-b', 'a--b'],
    ['\\$name', '$name'],
    ["'$name'", '$name'],
    ['"$name"', 'web'],
    ['"a\\"b"', 'a"b'],
    ['"a\\nb"', 'a\\nb'],
    ['a\\nb', 'anb'],
    ['${unset:-x}', 'x'],
    ['${empty:-x}', 'x'],
    ['${empty-x}', ''],
    ['${name:+yes}', 'yes'],
    ['${empty:+yes}', ''],
    ['${empty+yes}', 'yes'],
    ['${unset:-${name}}', 'web'],
    ['${unset:-"a b"}', 'a b'],
    ['${name?no}', 'web'],
    ['${path#*/}', 'lib/main.test.c'],
    ['${path##*/}', 'main.test.c'],
    ['${path%.*}', 'src/lib/main.test'],
    ['${path%%.*}', 'src/lib/main'],
    ['${path#src}', '/lib/main.test.c'],
    ['${path#nothing}', 'src/lib/main.test.c'],
    ['${path##}', 'src/lib/main.test.c'],
    ['${path/lib/bin}', 'src/bin/main.test.c'],
    ['${path//\\//-}', 'src-lib-main.test.c'],
    ['${path//[a-z]/x}', 'src/lib/main.test.c'],
    ['${path/m*t/x}', 'src/lib/x.c'],
    ['${path//?i?/_}', 'src/_/m_.test.c'],
    ['${stars/\\*/+}', 'a+b*c'],
    ['${stars//\\*/+}', 'a+b+c'],
    ['${name/x/y}', 'web'],
    ['${unset/x/y}', ''],
    ['$', '$'],
    ['$.', '$.'],
    ['$1x', 'x'],
    ['<<EOF', '<<EOF'],
  ])('expands %s', (word, expected) => {
    expect(expand(word, lookup, '\\')).toBe(expected);
  });

  it.each([
    ['${name', "missing '}'"],
    ['${}', 'bad substitution'],
    ['${:x}', 'bad substitution'],
    ['"open', 'matching double-quote'],
    ["'open", 'matching single-quote'],
    ['${unset?tell them}', 'unset: tell them'],
    ['${empty:?}', 'empty: is not allowed to be empty'],
    ['${unset:?}', 'unset: is not allowed to be unset'],
    ['${name:=x}', 'unsupported modifier (:=)'],
    ['${name:#x}', 'unsupported modifier (:#)'],
    ['${path#\\x}', "invalid escape '\\x'"],
  ])('refuses %s', (word, message) => {
    expect(() => expand(word, lookup, '\\')).toThrow(message);
  });

  it('says which word it was', () => {
    expect(() => expand('${x', lookup, '\\')).toThrow(/^failed to process "\$\{x": /);
  });

  it('takes the other escape character', () => {
    expect(expand('C:\\dir\\`$name', lookup, '`')).toBe('C:\\dir\\$name');
  });

  it('bounds what grows: a bomb of doubled variables, and nesting', () => {
    const big = 'x'.repeat(600_000);
    expect(() => expand('$a$a', () => big, '\\')).toThrow('longer than');
    expect(() => expand('${a//x/$a}', () => 'x'.repeat(100_000), '\\')).toThrow('longer than');
    const nested = `${'${a:-'.repeat(5000)}x${'}'.repeat(5000)}`;
    expect(() => expand(nested, () => undefined, '\\')).toThrow('within each other');
  });

  it('matches a hostile pattern in no time', () => {
    const value = 'a'.repeat(100_000);
    const began = performance.now();
    expand(`\${v//${'*a'.repeat(200)}b/x}`, () => value, '\\');
    expect(performance.now() - began).toBeLessThan(2000);
  });

  it('never ends in anything but a result or an error of the user', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'${}:-+?#%/\\"\'<ab _1'), maxLength: 40 }), (word) => {
        try {
          expect(typeof expand(word, lookup, '\\')).toBe('string');
        } catch (error) {
          expect(error).toHaveProperty('kind', 'invalid');
        }
      }),
    );
  });
});

describe('expandWords()', () => {
  it.each([
    ['80 $two', ['80', 'a', 'b']],
    ['"$two"', ['a b']],
    ['x$two', ['xa', 'b']],
    ['a\\ b', ['a b']],
    ['  ', []],
    ['$unset', []],
  ])('splits %s after expansion', (word, expected) => {
    expect(expandWords(word, lookup, '\\')).toEqual(expected);
  });
});

describe('expandContent()', () => {
  it('knows variables, and no quotes', () => {
    expect(expandContent(`it's "$name" \\$name\n`, lookup)).toBe(`it's "web" $name\n`);
  });
});

describe('expandWith()', () => {
  it('tells which variables were asked for', () => {
    const { matched, unmatched } = expandWith('$name ${unset:-$empty}', { lookup, escape: '\\' });
    expect([...matched].sort()).toEqual(['empty', 'name']);
    expect([...unmatched]).toEqual(['unset']);
  });

  it('leaves quotes, escapes and unset variables where it is asked to', () => {
    const options = { lookup, escape: '\\', rawQuotes: true, rawEscapes: true, keepUnset: true } as const;
    expect(expandWith(`"$name" \\x $unset \${unset:-y}`, options).text).toBe(`"web" \\x $unset \${unset:-y}`);
  });
});
