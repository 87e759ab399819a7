import { constants } from 'node:os';
import { describe, expect, test } from 'vitest';
import { errnoName } from '../../../src/native/errno.ts';

describe('errnoName()', () => {
  test('agrees with the C library', () => {
    const aliases = ['EWOULDBLOCK', 'ENOTSUP'];
    for (const [name, number] of Object.entries(constants.errno)) {
      if (!aliases.includes(name)) expect(errnoName(number)).toBe(name);
    }
  });

  test('knows what Node does not', () => {
    expect([117, 123, 133, 41, 524].map(errnoName)).toEqual([
      'EUCLEAN',
      'ENOMEDIUM',
      'EHWPOISON',
      'errno 41',
      'errno 524',
    ]);
  });
});
