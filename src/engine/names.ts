import { readdirSync, readlinkSync, rmSync, symlinkSync } from 'node:fs';
import { makePrivateDirectory } from '../disk/atomic.ts';
import type { Paths } from '../disk/paths.ts';
import { errorCode, TinyrunError } from '../errors.ts';
import { randomBytes, shortContainerId } from './ids.ts';

const GRAMMAR = /^[a-zA-Z0-9][a-zA-Z0-9_.-]+$/;

/** A name from the command line without its optional leading slash. @throws TinyrunError `invalid` in Docker's words */
export function checkName(text: string): string {
  const name = text.replace(/^\//, '');
  if (GRAMMAR.test(name) && name.length <= 255) return name;
  throw new TinyrunError(
    'invalid',
    `Invalid container name (${text}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed`,
  );
}

/**
 * Takes `name` for `id`: one symlink call, so two commands can never both have it.
 * @throws TinyrunError `conflict` in Docker's words
 */
export function reserveName(paths: Paths, name: string, id: string): void {
  const holder = tryReserve(paths, name, id);
  if (holder === undefined) return;
  throw new TinyrunError(
    'conflict',
    `Conflict. The container name "/${name}" is already in use by container "${holder}". You have to remove (or rename) that container to be able to reuse that name.`,
  );
}

/** A free generated name for `id`: six tries, from the second on with a digit, then the short id. */
export function reserveGeneratedName(paths: Paths, id: string): string {
  for (let attempt = 0; attempt < 6; attempt += 1) {
    const name = generateName(attempt);
    if (tryReserve(paths, name, id) === undefined) return name;
  }
  const name = shortContainerId(id);
  reserveName(paths, name, id);
  return name;
}

/** The id behind a name, or undefined. */
export function idOfName(paths: Paths, name: string): string | undefined {
  if (!GRAMMAR.test(name)) return undefined;
  try {
    return readlinkSync(paths.name(name));
  } catch (error) {
    if (errorCode(error) === 'ENOENT' || errorCode(error) === 'ENAMETOOLONG') return undefined;
    throw error;
  }
}

/** Gives the name back, but only if it is still `id`'s. */
export function releaseName(paths: Paths, name: string, id: string): void {
  if (idOfName(paths, name) === id) rmSync(paths.name(name), { force: true });
}

/** The ids that have a name. */
export function namedIds(paths: Paths): ReadonlySet<string> {
  return new Set(allNames(paths).flatMap((name) => idOfName(paths, name) ?? []));
}

/** All names of a container: one, unless something went wrong. */
export function namesOf(paths: Paths, id: string): string[] {
  return allNames(paths).filter((name) => idOfName(paths, name) === id);
}

function allNames(paths: Paths): string[] {
  try {
    return readdirSync(paths.names);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return [];
    throw error;
  }
}

function tryReserve(paths: Paths, name: string, id: string): string | undefined {
  for (;;) {
    try {
      symlinkSync(id, paths.name(name));
      return undefined;
    } catch (error) {
      if (errorCode(error) === 'ENOENT') {
        makePrivateDirectory(paths.names);
        continue;
      }
      if (errorCode(error) !== 'EEXIST') throw error;
      const holder = idOfName(paths, name);
      if (holder !== undefined) return holder;
    }
  }
}

/** `brave_lovelace`; from the second attempt on with a digit. */
export function generateName(attempt: number, random: (length: number) => Buffer = randomBytes): string {
  const bytes = random(3);
  const adjective = ADJECTIVES[(bytes[0] ?? 0) % ADJECTIVES.length];
  const surname = SURNAMES[(bytes[1] ?? 0) % SURNAMES.length];
  const digit = attempt === 0 ? '' : String((bytes[2] ?? 0) % 10);
  return `${adjective}_${surname}${digit}`;
}

const ADJECTIVES =
  `agile alert amber amused ardent bold brave breezy bright brisk calm candid careful cheerful civil clever cosmic
  cozy crisp curious daring deft dapper eager earnest elated fair fearless festive fluent fond frank gentle giddy glad
  golden graceful grand happy hardy honest hopeful humble idle jolly jovial keen kind lively loyal lucid lucky mellow
  merry mighty mild modest neat nimble noble patient peaceful placid plucky polite proud quick quiet quirky radiant rapid
  ready rosy rustic serene sharp shiny silent sincere sleek smart snappy snug sober solid spry steady still stoic
  sturdy subtle sunny swift tender thrifty tidy tranquil trusty upbeat valiant vibrant vivid warm wise witty zany
  zealous`.split(/\s+/);

const SURNAMES =
  `abel agnesi ampere archimedes avogadro babbage banach banneker bardeen bell bernoulli blackwell bohr boole borg
  bose brahe cannon cantor cauchy cerf chandra clarke conway copernicus cori curie dalton darwin davinci dijkstra dirac
  edison einstein elion engelbart erdos euclid euler faraday fermat fermi feynman franklin galileo galois gauss germain
  goodall godel goldberg hamilton hawking heisenberg hertz hilbert hodgkin hooke hopper hubble hypatia johnson joliot
  kalman kepler khorana kirch knuth kovalevsky lagrange lamarr lamport laplace leavitt leibniz liskov lovelace maxwell
  mccarthy mcclintock meitner mendel mirzakhani moore morse napier newton nightingale noether pascal pasteur payne perlman
  planck poincare ptolemy ramanujan ride riemann ritchie rosalind rutherford sagan shannon shaw sinoussi snyder swartz
  tesla thompson torvalds turing villani volta wiles wright wu yalow`.split(/\s+/);
