import { expect, test } from 'vitest';
import { Rollback } from '../../../src/engine/rollback.ts';

test('Rollback undoes last first, and goes on where a step fails', async () => {
  const done: string[] = [];
  const attempt = async (): Promise<void> => {
    await using undo = new Rollback();
    undo.defer(() => {
      done.push('a');
    });
    undo.defer(() => {
      throw new Error('no');
    });
    undo.defer(async () => {
      done.push('c');
    });
    throw new Error('cause');
  };
  await expect(attempt()).rejects.toThrow('cause');
  expect(done).toEqual(['c', 'a']);
});

test('Rollback.commit() leaves everything as it is', async () => {
  const done: string[] = [];
  {
    await using undo = new Rollback();
    undo.defer(() => {
      done.push('a');
    });
    undo.commit();
  }
  expect(done).toEqual([]);
});
