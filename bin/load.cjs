'use strict';
/*
 * Runs dist/tinyrun.cjs with the bytecode that V8 made of it the last time. Parsing and
 * compiling the program takes longer than everything that it then does to start a container (30 of 100 ms). Node's own
 * compile cache exists from version 22 on only and does not keep the functions that are compiled while the program runs.
 */
const {
  accessSync,
  constants,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} = require('node:fs');
const { createRequire } = require('node:module');
const { dirname, join } = require('node:path');
const { Script } = require('node:vm');

/* Bytes behind V8's own, a bit for every kind of run. */
const TAIL = 4;
const program = join(dirname(__dirname), 'dist', 'tinyrun.cjs');
const directory = dirname(program);
const { size, ctimeMs } = statSync(program);
/* V8 itself compares its version, its flags and the length of the source. That it is another source is for the name to say. */
const prefix = `code-${process.version}-${process.arch}-`;
const cache = join(directory, `${prefix}${size}-${Math.trunc(ctimeMs)}`);

const kept = read(cache);
/* The text is that of a function, the one that Node puts around every module. */
const script = new Script(readFileSync(program, 'latin1'), {
  filename: program,
  cachedData: kept?.subarray(0, -TAIL),
});
/* What is kept has the functions of all runs that kept it. One that may need others, such as those of a bridge, keeps it anew. */
const before = script.cachedDataRejected === false ? kept.readUInt32LE(kept.length - TAIL) : 0;
const kinds = kindsOf(process.argv.slice(2));
if ((kinds | before) >>> 0 !== before && mayKeep()) process.on('exit', keep);
const main = { exports: {} };
script.runInThisContext()(main.exports, createRequire(program), main, program, directory);

/* A bit for every flag, or rather for its letters; the lowest for the network that is taken where none is named. */
function kindsOf(words) {
  if (words[0] !== 'run') return 0;
  const flags = words.filter((word) => word.startsWith('-')).map((word) => word.split('=', 1)[0]);
  let bits = flags.some((flag) => flag.startsWith('--net')) ? 2 : 1;
  for (const flag of flags) {
    let sum = 0;
    for (let at = 0; at < flag.length; at += 1) sum += flag.charCodeAt(at);
    bits |= 1 << (2 + (sum % 30));
  }
  return bits >>> 0;
}

/* An installed package may be on a disk that nobody writes to. */
function mayKeep() {
  try {
    accessSync(directory, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

function read(path) {
  try {
    return readFileSync(path);
  } catch {
    return undefined;
  }
}

/* At the end of a `run`, when all that a run needs has been compiled. */
function keep() {
  const temporary = `${cache}.${process.pid}`;
  const tail = Buffer.alloc(TAIL);
  tail.writeUInt32LE((before | kinds) >>> 0);
  try {
    writeFileSync(temporary, Buffer.concat([script.createCachedData(), tail]), { mode: 0o644 });
    for (const name of readdirSync(directory)) {
      if (name.startsWith(prefix) && join(directory, name) !== temporary)
        rmSync(join(directory, name), { force: true });
    }
    renameSync(temporary, cache);
  } catch {
    rmSync(temporary, { force: true });
  }
}
