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
const { dirname } = require('node:path');
const { Script } = require('node:vm');

/* Bytes behind V8's own: a bit for every kind of command that has kept its functions, and for those that did so twice. */
const TAIL = 8;
const directory = `${dirname(__dirname)}/dist`;
const program = `${directory}/tinyrun.cjs`;
const { size, ctimeMs } = statSync(program);
/* V8 itself compares its version, its flags and the length of the source. That it is another source is for the name to say. */
const prefix = `code-${process.version}-${process.arch}-`;
const current = `${prefix}${size}-${Math.trunc(ctimeMs)}`;
const words = process.argv.slice(2);
/* Each of these has bytecode of its own, of what it needs and no more; all others share theirs. */
const COMMANDS = [
  'run',
  'ps',
  'exec',
  'create',
  'start',
  'stop',
  'rm',
  'logs',
  'inspect',
  'images',
  'pull',
  'build',
];
const command = words.find((word) => COMMANDS.includes(word)) ?? 'others';
const cache = `${directory}/${current}-${command}`;

const kept = read(cache);
const script = compile(program, kept?.subarray(0, -TAIL));
/*
 * What is kept has the functions of all commands that kept it. One that may need others, such as those of a bridge, keeps it anew; and
 * once more the next time, when what the first one had to make is there.
 */
const known = script.cachedDataRejected === false;
const once = known ? kept.readUInt32LE(kept.length - TAIL) : 0;
const twice = known ? kept.readUInt32LE(kept.length - TAIL + 4) : 0;
const kinds = kindsOf(words);
let mayKeep;
if ((kinds | twice) >>> 0 !== twice) keepAtExit(keepProgram);

const modules = new Map();
const main = { exports: {} };
script.runInThisContext()(main.exports, find, main, program, directory);

/* A bit for the command and every flag, or rather for its letters; the lowest for the network that is taken where none is named. */
function kindsOf(all) {
  let bits = 1;
  for (let at = 0; at < all.length; at += 1) {
    const word = all[at];
    if (at > 0 && !word.startsWith('-')) continue;
    if (word.startsWith('--net')) bits = (bits & ~1) | 2;
    let sum = 0;
    for (let n = 0; n < word.length && word[n] !== '='; n += 1) sum += word.charCodeAt(n);
    bits |= 1 << (2 + (sum % 30));
  }
  return bits >>> 0;
}

/* The program's require(): see scripts/bundle.mjs for the parts that it is in. */
function find(name) {
  let found = modules.get(name);
  if (found === undefined) {
    if (name.startsWith('hot:')) found = main.exports.hot(name.slice(4));
    else if (name.startsWith('cold:')) found = loadCold(name.slice(5));
    else found = require(name.startsWith('.') ? `${directory}/${name}` : name);
    modules.set(name, found);
  }
  return found;
}

/* ---- the parts that few commands need; their bytecode is kept by command, all in one file ---- */

let cold;

function loadCold(name) {
  cold ??= openCold();
  const path = `${directory}/cold/${name}.cjs`;
  const part = compile(path, cold.kept.get(name));
  cold.scripts.set(name, part);
  if (part.cachedDataRejected !== false && !cold.incomplete) {
    cold.incomplete = true;
    keepAtExit(keepCold);
  }
  const module = { exports: {} };
  part.runInThisContext()(module.exports, find, module, program, directory);
  return module.exports;
}

function openCold() {
  const path = `${cache}-cold`;
  return { path, kept: partsOf(read(path)), scripts: new Map(), incomplete: false };
}

/* The file: length of the index, the index in JSON as [name, length] each, the bytecode of one after the other. */
function partsOf(bytes) {
  const all = new Map();
  try {
    let at = 4 + bytes.readUInt32LE(0);
    for (const [name, length] of JSON.parse(bytes.toString('latin1', 4, at))) {
      all.set(name, bytes.subarray(at, at + length));
      at += length;
    }
  } catch {
    // There is none, or a broken disk left half of it.
  }
  return all;
}

function keepCold() {
  const parts = new Map(cold.kept);
  for (const [name, part] of cold.scripts) parts.set(name, part.createCachedData());
  const index = Buffer.from(JSON.stringify([...parts].map(([name, { length }]) => [name, length])));
  const length = Buffer.alloc(4);
  length.writeUInt32LE(index.length);
  replace(cold.path, [length, index, ...parts.values()]);
}

/* At the end, when all that the command needs has been compiled. */
function keepProgram() {
  const tail = Buffer.alloc(TAIL);
  tail.writeUInt32LE((once | kinds) >>> 0);
  tail.writeUInt32LE((twice | (once & kinds)) >>> 0, 4);
  if (!replace(cache, [script.createCachedData(), tail])) return;
  for (const name of readdirSync(directory)) {
    if (name.startsWith(prefix) && !name.startsWith(current)) rmSync(`${directory}/${name}`, { force: true });
  }
}

/* ---- files ---- */

/* The text is that of a function, the one that Node puts around every module. */
function compile(filename, cachedData) {
  return new Script(readFileSync(filename, 'latin1'), { filename, cachedData });
}

function read(path) {
  try {
    return readFileSync(path);
  } catch {
    return undefined;
  }
}

/* An installed package may be on a disk that nobody writes to. */
function keepAtExit(keep) {
  try {
    mayKeep ??= accessSync(directory, constants.W_OK) ?? true;
  } catch {
    mayKeep = false;
  }
  if (mayKeep) process.on('exit', keep);
}

function replace(path, parts) {
  const temporary = `${path}.${process.pid}`;
  try {
    writeFileSync(temporary, Buffer.concat(parts), { mode: 0o644 });
    renameSync(temporary, path);
    return true;
  } catch {
    rmSync(temporary, { force: true });
    return false;
  }
}
