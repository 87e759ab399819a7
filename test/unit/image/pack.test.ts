import { describe, expect, it } from 'vitest';
import { parsePackReport } from '../../../src/image/pack.ts';

const hex = 'a'.repeat(64);
const good = {
  ok: true,
  files: 3,
  bytes: 2048,
  size: 100,
  skipped: 1,
  empty: false,
  digest: hex,
  diffId: hex,
};

describe('parsePackReport()', () => {
  it('reads what was packed', () => {
    expect(parsePackReport(JSON.stringify(good), 'Cannot pack', 'ended with status 0')).toEqual({
      ...{ files: 3, bytes: 2048, size: 100, skipped: 1, empty: false },
      ...{ digest: `sha256:${hex}`, diffId: `sha256:${hex}` },
    });
  });

  it.each([
    [{ kind: 'space', message: 'no room', errno: 'ENOSPC' }, 'unavailable', 'Cannot pack: no room'],
    [{ kind: 'io', message: 'open "x"', errno: 'ENOENT' }, 'not_found', 'Cannot pack: open "x"'],
    [{ kind: 'io', message: 'unshare', errno: 'EPERM' }, 'denied', 'Cannot pack: unshare'],
    [{ kind: 'tar', message: 'a name' }, 'invalid', 'Cannot pack: a name'],
    [{ kind: 'io', message: 'read', errno: 'EIO' }, 'internal', 'Cannot pack: read'],
  ])('makes an error of %j', (report, kind, message) => {
    const text = JSON.stringify({ ok: false, ...report });
    const parse = () => parsePackReport(text, 'Cannot pack', 'ended with status 1');
    expect(parse).toThrow(expect.objectContaining({ kind, message }));
  });

  it.each(['', 'null', '[]', '{"ok":false}', '{"ok":tr'])(
    'says how the packer ended that said %j',
    (text) => {
      const parse = () => parsePackReport(text, 'Cannot pack', 'was killed by SIGSYS');
      expect(parse).toThrow('Cannot pack: the packer was killed by SIGSYS');
    },
  );

  it.each([{ digest: 'x' }, { size: '1' }, { files: null }])('refuses a report with %j', (wrong) => {
    expect(() => parsePackReport(JSON.stringify({ ...good, ...wrong }), 'Cannot pack', '')).toThrow();
  });
});
