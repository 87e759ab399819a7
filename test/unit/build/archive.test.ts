import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isArchiveFile, looksLikeArchive, peek } from '../../../src/build/archive.ts';
import { file, tar } from '../../fixtures/tars.ts';

let top: string;
beforeAll(() => {
  top = mkdtempSync(join(tmpdir(), 'tinyrun-archive-'));
});
afterAll(() => rmSync(top, { recursive: true, force: true }));

const archive = tar(file('a', 'content'));

describe('isArchiveFile()', () => {
  it.each<[string, Uint8Array, boolean]>([
    ['a tar', archive, true],
    ['a compressed tar', gzipSync(archive), true],
    ['a compressed text', gzipSync(Buffer.from('no archive')), false],
    ['a text that is called a.tar.gz', Buffer.from('no archive'), false],
    ['a tar whose checksum is wrong', Buffer.from(archive).fill('9', 148, 154), false],
    ['the beginning of a compressed tar', gzipSync(archive).subarray(0, 12), false],
    ['nothing', Buffer.alloc(0), false],
    ['zeros', Buffer.alloc(2048), false],
  ])('is asked of the content: %s', async (_, bytes, expected) => {
    const path = join(top, 'a.tar.gz');
    writeFileSync(path, bytes);
    expect(await isArchiveFile(path)).toBe(expected);
  });
});

describe('looksLikeArchive()', () => {
  it('takes what is compressed, whatever is in it', () => {
    expect(looksLikeArchive(gzipSync(Buffer.from('x')))).toBe(true);
    expect(looksLikeArchive(archive)).toBe(true);
    expect(looksLikeArchive(Buffer.from('FROM scratch\n'))).toBe(false);
  });
});

describe('peek()', () => {
  it('gives the beginning, and then all of it', async () => {
    async function* chunks(): AsyncGenerator<Uint8Array> {
      for (const text of ['ab', 'cd', 'ef']) yield Buffer.from(text);
    }
    const { head, all } = await peek(chunks(), 3);
    expect(head.toString()).toBe('abcd');
    let text = '';
    for await (const chunk of all) text += Buffer.from(chunk).toString();
    expect(text).toBe('abcdef');
  });
});
