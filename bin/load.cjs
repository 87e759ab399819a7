'use strict';
/*
 * Runs dist/tinyrun.cjs with the bytecode that V8 made of it the last time. Parsing and
 * compiling the program takes longer than everything that it then does to start a container (30 of 100 ms). Node's own
 * compile cache exists from version 22 on only and does not keep the functions that are compiled while the program runs.
 */
const { readFileSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } = require('node:fs');
const { createRequire } = require('node:module');
const { dirname, join } = require('node:path');
const { Script } = require('node:vm');

const program = join(dirname(__dirname), 'dist', 'tinyrun.cjs');
const directory = dirname(program);
const { size, ctimeMs } = statSync(program);
/* V8 itself compares its version, its flags and the length of the source. That it is another source is for the name to say. */
const prefix = `code-${process.version}-${process.arch}-`;
const cache = join(directory, `${prefix}${size}-${Math.trunc(ctimeMs)}`);

/* Its text is that of a function, the one that Node puts around every module. */
const script = new Script(readFileSync(program, 'latin1'), { filename: program, cachedData: read(cache) });
if (script.cachedDataRejected !== false && process.argv[2] === 'run') process.on('exit', keep);
const main = { exports: {} };
script.runInThisContext()(main.exports, createRequire(program), main, program, directory);

function read(path) {
  try {
    return readFileSync(path);
  } catch {
    return undefined;
  }
}

/* At the end of a `run`, when all that a run needs has been compiled. Where nobody may write there, nothing is kept. */
function keep() {
  const temporary = `${cache}.${process.pid}`;
  try {
    writeFileSync(temporary, script.createCachedData(), { mode: 0o644 });
    for (const name of readdirSync(directory)) {
      if (name.startsWith(prefix) && join(directory, name) !== temporary)
        rmSync(join(directory, name), { force: true });
    }
    renameSync(temporary, cache);
  } catch {
    rmSync(temporary, { force: true });
  }
}
