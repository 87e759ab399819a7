import { describe, expect, it } from 'vitest';
import { parseChmod } from '../../../src/build/copy-chmod.ts';

describe('parseChmod()', () => {
  it.each([
    ['755', 0o644, false, 0o755],
    ['0640', 0o777, true, 0o640],
    ['4755', 0o644, false, 0o4755],
    ['+x', 0o644, false, 0o755],
    ['u+x', 0o644, false, 0o744],
    ['go-rwx', 0o755, false, 0o700],
    ['u=rwX,go=rX', 0o600, false, 0o644],
    ['u=rwX,go=rX', 0o700, false, 0o755],
    ['a=rX', 0o600, true, 0o555],
    ['g=u', 0o640, false, 0o660],
    ['u+s,g+s,+t', 0o755, true, 0o7755],
    ['u-w+x', 0o644, false, 0o544],
  ])('%s on %o (directory: %s) gives %o', (text, mode, isDirectory, expected) => {
    expect(parseChmod(text)(mode, isDirectory)).toBe(expected);
  });

  it.each(['', '8', '77777', 'x+', 'u~x', 'u+q', '+x,'])('refuses %j', (text) => {
    expect(() => parseChmod(text)).toThrow(/invalid chmod parameter/);
  });
});
