import { describe, expect, test } from 'vitest';
import type { OptionSpec } from '../../../src/cli/command.ts';
import { FlagError, parseArguments } from '../../../src/cli/parse.ts';

const options: OptionSpec[] = [
  { long: 'detach', short: 'd', type: 'bool', help: '' },
  { long: 'interactive', short: 'i', type: 'bool', help: '' },
  { long: 'tty', short: 't', type: 'bool', help: '' },
  { long: 'sig-proxy', type: 'bool', default: true, help: '' },
  { long: 'name', type: 'string', help: '' },
  { long: 'env', short: 'e', type: 'list', help: '' },
  { long: 'publish', short: 'p', type: 'list', help: '' },
  { long: 'memory', short: 'm', type: 'bytes', help: '' },
  { long: 'cpus', type: 'decimal', help: '' },
  { long: 'cpu-shares', short: 'c', type: 'int', help: '' },
  { long: 'hostname', short: 'h', type: 'string', help: '' },
];
const run = (...argv: string[]) => parseArguments(argv, { options, interspersed: false });
const ps = (...argv: string[]) => parseArguments(argv, { options });

describe('parseArguments()', () => {
  test('takes values behind =, a space, or right behind the letter', () => {
    expect(run('--name=a', 'x').string('name')).toBe('a');
    expect(run('--name', 'a', 'x').string('name')).toBe('a');
    expect(run('-p8080:80', '-p=81:81', '-p', '82:82', 'x').list('publish')).toEqual([
      '8080:80',
      '81:81',
      '82:82',
    ]);
  });

  test('takes clusters of letters, the last of which may have a value', () => {
    const parsed = run('-dite', 'A=1', 'x');
    expect([parsed.bool('detach'), parsed.bool('interactive'), parsed.bool('tty')]).toEqual([
      true,
      true,
      true,
    ]);
    expect(parsed.list('env')).toEqual(['A=1']);
    expect(run('-itm64m', 'x').number('memory')).toBe(64 * 1024 * 1024);
  });

  test('takes boolean values only behind =', () => {
    expect(run('--detach=false', 'x').bool('detach', true)).toBe(false);
    expect(run('--detach', 'false').operands).toEqual(['false']);
    expect(run('-d=0', 'x').bool('detach')).toBe(false);
    expect(run('x').bool('sig-proxy', true)).toBe(true);
  });

  test('lets a later value replace an earlier one, and lists grow', () => {
    expect(run('--name=a', '--name=b', 'x').string('name')).toBe('b');
    expect(run('-e', 'A', '--env=B', 'x').list('env')).toEqual(['A', 'B']);
  });

  test('ends at the first operand where options are not interspersed', () => {
    expect(run('-d', 'busybox', 'ls', '-l', '--', '--name').operands).toEqual([
      'busybox',
      'ls',
      '-l',
      '--',
      '--name',
    ]);
    expect(ps('a', '-d', 'b').operands).toEqual(['a', 'b']);
  });

  test('ends at --, and takes - as an operand', () => {
    expect(run('-d', '--', '-x', 'y').operands).toEqual(['-x', 'y']);
    expect(ps('-', '-d').operands).toEqual(['-']);
  });

  test('takes a value that looks like a flag', () => {
    expect(run('--name', '-x', 'y').string('name')).toBe('-x');
    expect(run('--cpu-shares', '-5', 'y').number('cpu-shares')).toBe(-5);
  });

  test('offers help unless the letter has another meaning', () => {
    expect(run('--help').bool('help')).toBe(true);
    expect(run('-h', 'box', 'x').string('hostname')).toBe('box');
    expect(parseArguments(['-h'], { options: [] }).bool('help')).toBe(true);
  });

  test.each([
    [['--foo'], 'unknown flag: --foo'],
    [['--foo=1'], 'unknown flag: --foo'],
    [['-x'], "unknown shorthand flag: 'x' in -x"],
    [['-dxi'], "unknown shorthand flag: 'x' in -xi"],
    [['--name'], 'flag needs an argument: --name'],
    [['-de'], "flag needs an argument: 'e' in -e"],
    [['--=x'], 'bad flag syntax: --=x'],
    [['---name'], 'bad flag syntax: ---name'],
    [
      ['--detach=maybe'],
      'invalid argument "maybe" for "-d, --detach" flag: strconv.ParseBool: parsing "maybe": invalid syntax',
    ],
    [['-m', 'x'], `invalid argument "x" for "-m, --memory" flag: invalid size: 'x'`],
    [['-m', '1zb'], `invalid argument "1zb" for "-m, --memory" flag: invalid suffix: 'zb'`],
    [['--cpus', 'x'], 'invalid argument "x" for "--cpus" flag: failed to parse x as a rational number'],
    [
      ['-c', '1x'],
      'invalid argument "1x" for "-c, --cpu-shares" flag: strconv.ParseInt: parsing "1x": invalid syntax',
    ],
  ])('refuses %j in the words of pflag', (argv, message) => {
    expect(() => run(...argv)).toThrow(new FlagError(message));
  });
});
