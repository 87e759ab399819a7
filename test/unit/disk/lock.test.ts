import { closeSync, existsSync, mkdtempSync, openSync, rmSync, unlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { withLock } from '../../../src/disk/lock.ts';
import { flock, lockIsHeld } from '../../../src/native/syscalls.ts';

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describe('withLock()', () => {
  let directory: string;
  let path: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'tinyrun-lock-'));
    path = join(directory, 'sub', 'lock');
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  test('makes the file with its directory and gives the value back', async () => {
    expect(await withLock(path, 'exclusive', () => 42)).toBe(42);
    expect(existsSync(path)).toBe(true);
  });

  test('lets one in at a time', async () => {
    let inside = 0;
    let most = 0;
    const one = () =>
      withLock(path, 'exclusive', async () => {
        inside += 1;
        most = Math.max(most, inside);
        await pause(2);
        inside -= 1;
      });
    await Promise.all(Array.from({ length: 8 }, one));
    expect(most).toBe(1);
  });

  test('lets readers in together', async () => {
    let inside = 0;
    let most = 0;
    const one = () =>
      withLock(path, 'shared', async () => {
        inside += 1;
        most = Math.max(most, inside);
        await pause(30);
        inside -= 1;
      });
    await Promise.all([one(), one(), one()]);
    expect(most).toBe(3);
  });

  test('is free again after an error', async () => {
    const failing = withLock(path, 'exclusive', () => {
      throw new Error('no');
    });
    await expect(failing).rejects.toThrow('no');
    expect(lockIsHeld(path)).toBe(false);
  });

  test('does not take a file that is no longer the one of that name', async () => {
    await withLock(path, 'exclusive', () => undefined);
    const old = openSync(path, 'r');
    flock(old, 'exclusive', false);
    const waiting = withLock(path, 'exclusive', () => lockIsHeld(path));
    await pause(5);
    unlinkSync(path);
    closeSync(old);
    expect(await waiting).toBe(true);
  });
});

describe('lockIsHeld()', () => {
  test('is false for a missing file and true while it is locked', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'tinyrun-lock-'));
    const path = join(directory, 'lock');
    expect(lockIsHeld(path)).toBe(false);
    expect(await withLock(path, 'exclusive', () => lockIsHeld(path))).toBe(true);
    expect(await withLock(path, 'shared', () => lockIsHeld(path))).toBe(false);
    rmSync(directory, { recursive: true });
  });
});
