import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import type { LibraryHandle } from 'koffi';
import { TinyrunError } from '../errors.ts';

/** What native/addon.c makes of libtinyrun.so: numbers, strings and typed arrays in, an int out. */
interface Addon {
  bind(name: string): (...values: unknown[]) => number;
}

type Koffi = Pick<typeof import('koffi'), 'load'>;

let chosenDirectory: string | undefined;
let koffi: Koffi | undefined;
let ours: Addon | undefined;

/**
 * Takes the binaries from another directory than the package's (`TINYRUN_NATIVE`, a sanitizer build). Before the first native call; an
 * empty string or undefined: the package's.
 */
export function useNativeDirectory(directory: string | undefined): void {
  chosenDirectory = directory === '' ? undefined : directory;
}

/**
 * Where tinyrun-monitor, tinyrun-unpack, tinyrun-pack and libtinyrun.so are.
 * @throws TinyrunError unsupported where there are none for this machine
 */
export function nativeDirectory(): string {
  const directory = chosenDirectory ?? packagedDirectory();
  if (existsSync(directory)) return directory;
  throw new TinyrunError(
    'unsupported',
    `Cannot find tinyrun's native programs in "${directory}": it is missing`,
    {
      hint: ['x64', 'arm64'].includes(process.arch)
        ? 'Build them with "npm run build:native"'
        : `The architecture ${process.arch} is not supported, only x64 and arm64 are`,
    },
  );
}

/** Node before 20.11 gives an ES module no dirname of its own. To make a path of a URL costs a start 0.3 ms. */
function ownDirectory(): string {
  return import.meta.dirname ?? dirname(decodeURIComponent(new URL(import.meta.url).pathname));
}

/** This file is bundled into dist/, beside dist/native; as a source it is in src/native. */
function packagedDirectory(): string {
  const here = ownDirectory();
  const dist = here.endsWith(join('src', 'native')) ? join(here, '..', '..', 'dist') : here;
  return join(dist, 'native', process.arch);
}

/** The program that becomes a container's parent. */
export function monitorProgram(): string {
  return join(nativeDirectory(), 'tinyrun-monitor');
}

/** The program that unpacks one layer. */
export function unpackProgram(): string {
  return join(nativeDirectory(), 'tinyrun-unpack');
}

/** The program that packs a tree. */
export function packProgram(): string {
  return join(nativeDirectory(), 'tinyrun-pack');
}

/** The program that makes the files of COPY and ADD. */
export function copyProgram(): string {
  return join(nativeDirectory(), 'tinyrun-copy');
}

/**
 * A function of libtinyrun.so, which is loaded once, as an addon: 0.2 ms, where koffi takes 1.2.
 * @param prototype in C; only its name is looked at
 * @throws TinyrunError unsupported where it cannot be loaded
 */
export function hostFunction(prototype: string): (...values: unknown[]) => number {
  ours ??= loadAddon(join(nativeDirectory(), 'libtinyrun.so'));
  return ours.bind(/\w+(?=\()/.exec(prototype)?.[0] ?? prototype);
}

function loadAddon(path: string): Addon {
  const loaded = { exports: {} as Addon };
  try {
    process.dlopen(loaded, path);
    return loaded.exports;
  } catch (cause) {
    throw new TinyrunError('unsupported', `Cannot load the library "${path}"`, { cause });
  }
}

/**
 * A shared library for calls through the FFI. On the main thread only: koffi is reported to crash in workers.
 * @param path absolute, or a name that the dynamic linker finds; null: what this process has linked already
 * @throws TinyrunError unsupported where it cannot be loaded
 */
export function openLibrary(path: string | null): LibraryHandle {
  koffi ??= loadKoffi();
  try {
    return koffi.load(path);
  } catch (cause) {
    throw new TinyrunError('unsupported', `Cannot load the library "${path}"`, { cause });
  }
}

/**
 * Ends this process at once, without the two milliseconds in which Node takes down what the kernel takes down anyway.
 * Returns where the library is not loaded: to load it takes as long.
 */
export function endProcess(code: number): void {
  ours?.bind('tinyrun_end')(code);
}

/** Where packages lie: of a checkout, or those that were installed with this one. Undefined: only Node knows. */
function packagesDirectory(): string | undefined {
  const top = dirname(ownDirectory());
  const own = join(top, 'node_modules');
  if (existsSync(own)) return own;
  return basename(dirname(top)) === 'node_modules' ? dirname(top) : undefined;
}

/** Made when it is needed: that takes a fifth of a millisecond. */
function requireHere(): NodeJS.Require {
  return createRequire(import.meta.url);
}

/** koffi's binary without its JavaScript loader: 1 ms instead of 7; and without a search for it, half a millisecond. */
function loadKoffi(): Koffi {
  const packages = packagesDirectory();
  for (const flavour of [`linux_${process.arch}`, `musl_${process.arch}`]) {
    const loaded = { exports: {} as Koffi };
    const binary = `@koromix/koffi-linux-${process.arch}/${flavour}/koffi.node`;
    const expected = packages === undefined ? binary : join(packages, binary);
    try {
      process.dlopen(loaded, existsSync(expected) ? expected : requireHere().resolve(binary));
      return loaded.exports;
    } catch {
      // Another C library, or a package manager that hides a dependency's dependencies: koffi's own loader knows more places.
    }
  }
  try {
    return requireHere()('koffi') as Koffi;
  } catch (cause) {
    throw new TinyrunError('unsupported', 'Cannot load koffi, through which tinyrun calls native code', {
      cause,
    });
  }
}
