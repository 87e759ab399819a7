import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { COMMANDS, loadCommand } from '../../../src/cli/commands.ts';
import type { Context, Input, Output } from '../../../src/cli/context.ts';
import { runProgram } from '../../../src/cli/program.ts';

let root = '';
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'tinyrun-program-'));
});
afterAll(() => rmSync(root, { recursive: true }));

interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

async function tinyrun(...argv: string[]): Promise<Ran> {
  let out = '';
  let err = '';
  const output = (take: (text: string) => void): Output => ({
    write: (data) => {
      take(typeof data === 'string' ? data : Buffer.from(data).toString());
      return true;
    },
    once: () => undefined,
  });
  const context: Context = {
    argv,
    program: '/usr/bin/tinyrun',
    env: { TINYRUN_ROOT: join(root, 'root'), TINYRUN_RUNROOT: join(root, 'run') },
    cwd: root,
    stdin: { isTTY: false } as Input,
    stdout: output((text) => {
      out += text;
    }),
    stderr: output((text) => {
      err += text;
    }),
    signal: new AbortController().signal,
    onSignal: () => () => {},
    now: () => 0,
    architecture: 'amd64',
    nodeVersion: '20',
    isRoot: true,
  };
  return { code: await runProgram(context), out, err };
}

test('runProgram() exits 125 for a wrong flag of any command, with usage', async () => {
  expect(await tinyrun('run', '--foo', 'x')).toEqual({
    code: 125,
    out: '',
    err: "unknown flag: --foo\n\nUsage:  tinyrun run [OPTIONS] IMAGE [COMMAND] [ARG...]\n\nRun 'tinyrun run --help' for more information\n",
  });
  expect((await tinyrun('ps', '-x')).code).toBe(125);
  expect((await tinyrun('--foo', 'ps')).code).toBe(125);
  expect((await tinyrun('run', '-v', 'data:/x', 'busybox')).code).toBe(125);
});

test('runProgram() exits 1 for a wrong number of operands and for unknown commands', async () => {
  const none = await tinyrun('run');
  expect(none.code).toBe(1);
  expect(none.err).toContain("'tinyrun run' requires at least 1 argument");
  expect((await tinyrun('attach', 'a', 'b')).err).toContain("'tinyrun attach' requires 1 argument");
  expect((await tinyrun('ps', 'x')).err).toContain("'tinyrun ps' accepts no arguments");
  const wrong = await tinyrun('rnu');
  expect(wrong.code).toBe(1);
  expect(wrong.err).toContain('unknown command: tinyrun rnu\n\nDid you mean "tinyrun run"?');
});

test('runProgram() shows help', async () => {
  const all = await tinyrun();
  expect(all.code).toBe(0);
  expect(all.out).toMatch(/^ {2}system +Manage this store$/m);
  expect((await tinyrun('--help')).out).toBe(all.out);
  const run = await tinyrun('run', '--help');
  expect(run.out).toContain('--cap-add');
  expect(run.out).toContain('-p, --publish');
  expect((await tinyrun('help', 'run')).out).toBe(run.out);
  expect((await tinyrun('container')).out).toContain('inspect');
});

test('runProgram() tells the version', async () => {
  expect((await tinyrun('--version')).out).toMatch(/^tinyrun version /);
  expect((await tinyrun('version', '-f', '{{.Arch}}')).out).toBe('amd64\n');
});

test.each(Object.keys(COMMANDS))('the command "%s" loads, with options that differ', async (name) => {
  const command = await loadCommand(name);
  const longs = command.options.map((option) => option.long);
  const shorts = command.options.flatMap((option) => option.short ?? []);
  expect(new Set(longs).size).toBe(longs.length);
  expect(new Set(shorts).size).toBe(shorts.length);
  expect(command.name).toBe(name);
});
