import { describe, expect, test } from 'vitest';
import { TinyrunError } from '../../../src/errors.ts';
import { resolveAccount } from '../../../src/runtime/account.ts';

const PASSWD = `root:x:0:0:root:/root:/bin/sh
# a comment
daemon:x:1:1::/usr/sbin:/bin/false

app:x:1000:1001:App,,,:/home/app:/bin/sh
1000:x:0:0:named like a number:/root:/bin/sh
bad:x:zero:0::/:/bin/sh
huge:x:4294967296:0::/:/bin/sh
negative:x:-1:0::/:/bin/sh
empty:x:::::
trick:x:1005:1005::/home\x01/t:/bin/sh
nohome:x:1006:1006:::/bin/sh
`;
const GROUP = `root:x:0:root
wheel:x:10:app,root
audio:x:29:daemon,app
appgroup:x:1001:
2000:x:0:
bad:x:none:app
`;

const files = (passwd: string | undefined, group: string | undefined) => (path: string) =>
  path === '/etc/passwd' ? passwd : path === '/etc/group' ? group : undefined;
const image = files(PASSWD, GROUP);

describe('resolveAccount() finds', () => {
  test.each([
    [undefined, { uid: 0, gid: 0, groups: [0, 10], home: '/root' }],
    ['', { uid: 0, gid: 0, groups: [0, 10], home: '/root' }],
    ['root', { uid: 0, gid: 0, groups: [0, 10], home: '/root' }],
    ['app', { uid: 1000, gid: 1001, groups: [1001, 10, 29], home: '/home/app' }],
    ['1000', { uid: 1000, gid: 1001, groups: [1001, 10, 29], home: '/home/app' }],
    ['01000', { uid: 1000, gid: 1001, groups: [1001, 10, 29], home: '/home/app' }],
    ['app:wheel', { uid: 1000, gid: 10, groups: [10], home: '/home/app' }],
    ['app:2000', { uid: 1000, gid: 2000, groups: [2000], home: '/home/app' }],
    ['app:', { uid: 1000, gid: 1001, groups: [1001, 10, 29], home: '/home/app' }],
    [':wheel', { uid: 0, gid: 10, groups: [10], home: '/root' }],
    ['4242', { uid: 4242, gid: 0, groups: [0], home: '/' }],
    ['4242:4343', { uid: 4242, gid: 4343, groups: [4343], home: '/' }],
    ['2147483647', { uid: 2147483647, gid: 0, groups: [0], home: '/' }],
    ['trick', { uid: 1005, gid: 1005, groups: [1005], home: '/' }],
    ['nohome', { uid: 1006, gid: 1006, groups: [1006], home: '/' }],
  ])('%j', (user, account) => {
    expect(resolveAccount(image, user, [])).toEqual(account);
  });
});

describe('resolveAccount() refuses', () => {
  test.each([
    ['nobody', 'unable to find user nobody: no matching entries in passwd file'],
    ['app:nogroup', 'unable to find group nogroup: no matching entries in group file'],
    ['2147483648', 'uids and gids must be in range 0-2147483647'],
    ['4294967295', 'uids and gids must be in range 0-2147483647'],
    ['4294967296', 'uids and gids must be in range 0-2147483647'],
    ['-1', 'uids and gids must be in range 0-2147483647'],
    ['99999999999999999999', 'uids and gids must be in range 0-2147483647'],
    ['1000:99999999999', 'uids and gids must be in range 0-2147483647'],
    ['0x0', 'unable to find user 0x0: no matching entries in passwd file'],
    [' 0', 'unable to find user  0: no matching entries in passwd file'],
    ['0 ', 'unable to find user 0 : no matching entries in passwd file'],
    ['1e3', 'unable to find user 1e3: no matching entries in passwd file'],
    ['bad', 'unable to find user bad: no matching entries in passwd file'],
    ['huge', 'unable to find user huge: no matching entries in passwd file'],
    ['negative', 'unable to find user negative: no matching entries in passwd file'],
    ['empty', 'unable to find user empty: no matching entries in passwd file'],
    ['app:bad', 'unable to find group bad: no matching entries in group file'],
    ['0:0:0', 'Cannot use user "0:0:0": expected user[:group]'],
    ['app\nroot', 'unable to find user app\nroot: no matching entries in passwd file'],
  ])('%j', (user, message) => {
    expect(() => resolveAccount(image, user, [])).toThrow(new TinyrunError('invalid', message));
  });
});

describe('resolveAccount()', () => {
  test('without passwd and group files knows numbers and root only', () => {
    const none = files(undefined, undefined);
    expect(resolveAccount(none, undefined, [])).toEqual({ uid: 0, gid: 0, groups: [0], home: '/' });
    expect(resolveAccount(none, '5:6', [])).toEqual({ uid: 5, gid: 6, groups: [6], home: '/' });
    expect(() => resolveAccount(none, 'root', [])).toThrow('unable to find user root');
  });

  test('adds groups by name and by number, each once', () => {
    expect(resolveAccount(image, 'app', ['audio', '29', '777', 'root']).groups).toEqual([
      1001, 10, 29, 777, 0,
    ]);
    expect(resolveAccount(image, '4242', ['2000']).groups).toEqual([0, 2000]);
    expect(() => resolveAccount(image, 'app', ['nogroup'])).toThrow(
      'unable to find group nogroup: no matching entries in group file',
    );
    expect(() => resolveAccount(image, 'app', ['-5'])).toThrow('must be in range');
  });

  test('skips a line that is too long', () => {
    const long = files(`app:x:1000:1000:${'x'.repeat(70_000)}:/home:/bin/sh\nlate:x:7:7::/:/bin/sh\n`, '');
    expect(() => resolveAccount(long, 'app', [])).toThrow('unable to find user app');
    expect(resolveAccount(long, 'late', []).uid).toBe(7);
  });

  test('takes the first of several entries', () => {
    const twice = files('a:x:5:5::/five:/bin/sh\na:x:6:6::/six:/bin/sh\n', '');
    expect(resolveAccount(twice, 'a', []).home).toBe('/five');
  });
});
