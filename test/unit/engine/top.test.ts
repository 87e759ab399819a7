import { expect, test } from 'vitest';
import { selectProcesses } from '../../../src/engine/top.ts';

const OUTPUT = `UID        PID  PPID CMD
root         1     0 /sbin/init  splash
root        42     1 sh -c a  b
root       142     1 other
`;

test('selectProcesses() keeps the wanted pids and the command whole', () => {
  expect(selectProcesses(OUTPUT, new Set([42]))).toEqual({
    titles: ['UID', 'PID', 'PPID', 'CMD'],
    rows: [['root', '42', '1', 'sh -c a b']],
  });
});

test('selectProcesses() needs the PID column', () => {
  expect(() => selectProcesses('COMMAND\nsh\n', new Set())).toThrow("Couldn't find PID field in ps output");
});
