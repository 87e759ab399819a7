import { describe, expect, it, test } from 'vitest';
import { CREATE_FLAGS } from '../../../src/cli/create-flags.ts';
import { networksOf, parseAlias, parseNetwork } from '../../../src/cli/network-flags.ts';
import { parseArguments } from '../../../src/cli/parse.ts';

const networks = (...argv: string[]) =>
  networksOf(parseArguments([...argv, 'busybox'], { options: CREATE_FLAGS }));

test.each([
  ['mine', { mode: { type: 'bridge', network: 'mine' }, aliases: [] }],
  ['name=mine', { mode: { type: 'bridge', network: 'mine' }, aliases: [] }],
  [
    'name=mine,alias=db,alias=sql,ip=10.5.0.9,mac-address=02:42:AC:00:00:01',
    {
      mode: { type: 'bridge', network: 'mine' },
      aliases: ['db', 'sql'],
      ip: '10.5.0.9',
      macAddress: '02:42:ac:00:00:01',
    },
  ],
])('parseNetwork() reads %s', (text, expected) => expect(parseNetwork(text)).toEqual(expected));

test.each([
  ['name=mine,colour=red', 'invalid field key colour'],
  ['name=mine,alias', 'invalid field alias'],
  ['name=mine,ip=x', 'invalid IPv4 address: x'],
  ['name=mine,alias=a b', 'invalid network alias "a b"'],
])('parseNetwork() refuses %s', (text, message) => expect(() => parseNetwork(text)).toThrow(message));

describe('parseAlias()', () => {
  it.each(['web', 'my_db.local', '_x', 'A1'])('takes %s', (text) => expect(parseAlias(text)).toBe(text));
  it.each(['', '-a', 'a.', 'a\nb', 'ü'])('refuses %j', (text) => expect(() => parseAlias(text)).toThrow());
});

describe('networksOf()', () => {
  it('puts the flags for the first network and the further networks together', () => {
    expect(
      networks(
        '--network',
        'a',
        '--network',
        'name=b,ip=10.1.1.1',
        '--network-alias',
        'web',
        '--ip',
        '10.0.0.5',
      ),
    ).toEqual({
      mode: { type: 'bridge', network: 'a' },
      aliases: ['web'],
      ip: '10.0.0.5',
      more: [{ network: 'b', aliases: [], ip: '10.1.1.1' }],
    });
  });

  it('refuses what cannot be together', () => {
    expect(() => networks('--network', 'a', '--network', 'host')).toThrow('cannot attach both');
    expect(() => networks('--network', 'none', '--network-alias', 'x')).toThrow('need a network, not none');
  });
});
