import { expect, test } from 'vitest';
import { DEFAULT_DETACH_KEYS, detachWatcher, parseDetachKeys } from '../../../src/cli/detach-keys.ts';

const bytes = (text: string) => Uint8Array.from(text, (letter) => letter.charCodeAt(0));

test('parseDetachKeys() reads control keys and letters', () => {
  expect([...parseDetachKeys(DEFAULT_DETACH_KEYS)]).toEqual([16, 17]);
  expect([...parseDetachKeys('a,ctrl-@,ctrl-\\')]).toEqual([97, 0, 28]);
  expect([...parseDetachKeys('')]).toEqual([]);
  expect(() => parseDetachKeys('ctrl-1')).toThrow('invalid escape keys');
});

test('detachWatcher() holds back what may be the beginning of the keys', () => {
  const watch = detachWatcher(parseDetachKeys(DEFAULT_DETACH_KEYS));
  expect(watch(bytes('ab\x10'))).toEqual({ send: bytes('ab'), detached: false });
  expect(watch(bytes('c'))).toEqual({ send: bytes('\x10c'), detached: false });
  expect(watch(bytes('\x10\x10'))).toEqual({ send: bytes('\x10'), detached: false });
  expect(watch(bytes('\x11rest'))).toEqual({ send: bytes(''), detached: true });
});
