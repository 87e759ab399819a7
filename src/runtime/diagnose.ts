import { errorCode } from '../errors.ts';
import type { StatInRoot } from '../native/syscalls.ts';
import { DEFAULT_PATH } from './defaults.ts';
import { ET_DYN, ET_EXEC, type Executable, inspectExecutable } from './executable.ts';
import { type Bind, filesOf, type ImageFiles } from './image-files.ts';

export interface DiagnoseInput {
  /** The container's root, from `openRoot()`. */
  readonly rootFd: number;
  /** As the user wrote it. */
  readonly argv0: string;
  /** The first path that was tried. */
  readonly path: string;
  /** All that were tried, in order (a name looked for in PATH); absent: guessed from Docker's default PATH. */
  readonly paths?: readonly string[];
  /** What was mounted over the image from the host, such as the `bind` ops of the plan. */
  readonly binds?: readonly Bind[];
  /** What execve said, such as `ENOENT`. */
  readonly errno: string;
  /** GOARCH, such as `amd64`. */
  readonly hostArch: string;
}

export interface Diagnosis {
  readonly message: string;
  readonly hint?: string;
  /** 127: not there; 126: there, but it cannot be run. */
  readonly exitCode: 126 | 127;
}

/**
 * Why the container's program could not be started, by looking at it in the image: Docker's words first, for scripts that
 * know them, then the reason that execve has no errno for. Only called when a start has failed.
 */
export function diagnose(
  input: DiagnoseInput,
  files: ImageFiles = filesOf(input.rootFd, input.binds),
): Diagnosis {
  const path = triedPaths(input).find((candidate) => statOf(files, candidate) !== undefined);
  if (path === undefined) return notThere(input, files);
  const stat = statOf(files, path);
  const name = JSON.stringify(input.argv0);
  if (stat?.type === 'directory') {
    return { message: `exec: ${name}: is a directory: permission denied`, exitCode: 126 };
  }
  if (stat?.type !== 'file') {
    return { message: `exec: ${name}: permission denied: it is not a regular file`, exitCode: 126 };
  }
  const reason =
    input.errno === 'EACCES' ? undefined : reasonOf(executableAt(files, path), input, files, path);
  return reason ?? byErrno(input, files, path, stat);
}

function triedPaths({ argv0, path, paths }: DiagnoseInput): readonly string[] {
  if (paths !== undefined || argv0.includes('/')) return paths ?? [path];
  return [path, ...DEFAULT_PATH.split(':').map((directory) => `${directory}/${argv0}`)];
}

function statOf(files: ImageFiles, path: string): StatInRoot | undefined {
  try {
    return files.stat(path);
  } catch {
    return undefined;
  }
}

function executableAt(files: ImageFiles, path: string): Executable {
  try {
    return inspectExecutable(files.read(path));
  } catch {
    return { type: 'unknown' };
  }
}

function notThere({ argv0, path, errno }: DiagnoseInput, files: ImageFiles): Diagnosis {
  const name = JSON.stringify(argv0);
  if (!argv0.includes('/')) {
    return { message: `exec: ${name}: executable file not found in $PATH`, exitCode: 127 };
  }
  const code = codeOf(() => files.stat(path)) ?? errno;
  if (code === 'ENOTDIR') return { message: `exec: ${name}: stat ${path}: not a directory`, exitCode: 127 };
  if (code === 'ELOOP') {
    return { message: `exec: ${name}: stat ${path}: too many levels of symbolic links`, exitCode: 127 };
  }
  if (errno === 'EACCES') return { message: `exec: ${name}: stat ${path}: permission denied`, exitCode: 126 };
  // Seen by the kernel, but not by us: it lies on a file system of the container's own.
  if (errno !== 'ENOENT') return { message: `exec: ${name}: ${WORDS[errno] ?? errno}`, exitCode: 126 };
  return { message: `exec: ${name}: stat ${path}: no such file or directory`, exitCode: 127 };
}

function codeOf(action: () => unknown): string | undefined {
  try {
    action();
    return undefined;
  } catch (error) {
    return errorCode(error);
  }
}

/** What is wrong with the file itself; undefined where it looks as if it could be started. */
function reasonOf(
  executable: Executable,
  input: DiagnoseInput,
  files: ImageFiles,
  path: string,
): Diagnosis | undefined {
  const cannot = (errno: string, why: string, hint: string | undefined, exitCode: 126 | 127): Diagnosis => ({
    message: `exec: ${JSON.stringify(input.argv0)}: ${errno}: ${why}`,
    exitCode,
    ...(hint === undefined ? {} : { hint }),
  });
  const format = (why: string, hint?: string): Diagnosis => cannot('exec format error', why, hint, 126);
  const missing = (why: string, hint: string): Diagnosis =>
    cannot('no such file or directory', why, hint, 127);
  switch (executable.type) {
    case 'script':
      return scriptReason(executable, path, files, { format, missing });
    case 'elf':
      return elfReason(executable, input, files, { format, missing });
    case 'empty':
      return format(`"${path}" is empty`);
    case 'text':
      return format(`"${path}" is a text file without "#!"`, 'Begin it with a line such as "#!/bin/sh"');
    case 'foreign':
      return format(`"${path}" is ${executable.format}`);
    case 'unknown':
      return input.errno === 'ENOEXEC'
        ? format(`"${path}" is neither an ELF program nor a script with "#!"`)
        : undefined;
  }
}

interface Verdicts {
  format(why: string, hint?: string): Diagnosis;
  missing(why: string, hint: string): Diagnosis;
}

function scriptReason(
  script: Extract<Executable, { type: 'script' }>,
  path: string,
  files: ImageFiles,
  { format, missing }: Verdicts,
): Diagnosis | undefined {
  if (script.interpreter.replace('\r', '') === '')
    return format(`the "#!" line of "${path}" names no interpreter`);
  // With an argument the carriage return is part of that: the interpreter is found and complains itself.
  if (script.crlf && script.interpreter.endsWith('\r')) {
    return missing(
      `the first line of "${path}" ends in CRLF, which makes the carriage return part of "${script.interpreter.replace('\r', '')}"`,
      'Convert the file to Unix line ends (dos2unix), or keep Git from changing them ("*.sh text eol=lf" in .gitattributes)',
    );
  }
  const interpreter = statOf(files, script.interpreter);
  if (interpreter === undefined) {
    return missing(
      `the interpreter "${script.interpreter}" that "${path}" names in its first line is not in the image`,
      interpreterHint(script.interpreter, files),
    );
  }
  if (interpreter.type === 'directory')
    return format(`the interpreter "${script.interpreter}" of "${path}" is a directory`);
  const loader = loaderOf(executableAt(files, script.interpreter));
  if (loader === undefined || statOf(files, loader) !== undefined) return undefined;
  return missing(
    `the interpreter "${script.interpreter}" of "${path}" needs the loader "${loader}", which is not in the image`,
    loaderHint(files),
  );
}

function interpreterHint(interpreter: string, files: ImageFiles): string {
  const name = interpreter.slice(interpreter.lastIndexOf('/') + 1);
  const found = [`/bin/${name}`, `/usr/bin/${name}`, `/usr/local/bin/${name}`].find((path) =>
    statOf(files, path),
  );
  if (found !== undefined) return `The image has "${found}": name that in the first line`;
  if (name === 'bash' && statOf(files, '/bin/sh') !== undefined) {
    return 'Install bash in the image, or begin the script with "#!/bin/sh" if it does without bash';
  }
  return `Install ${name} in the image`;
}

function elfReason(
  elf: Extract<Executable, { type: 'elf' }>,
  input: DiagnoseInput,
  files: ImageFiles,
  { format, missing }: Verdicts,
): Diagnosis | undefined {
  if (!runsOn(elf.machine, input)) {
    return format(
      `it is built for ${elf.machine}, this host is ${input.hostArch}`,
      `Pull the image for this host (--platform linux/${input.hostArch}), or install an emulator (qemu-user-static with binfmt_misc)`,
    );
  }
  if (elf.kind !== ET_EXEC && elf.kind !== ET_DYN) return format('it is an object file, not a program');
  const loader = loaderOf(elf);
  if (loader === undefined || statOf(files, loader) !== undefined) return undefined;
  return missing(`it needs the loader "${loader}", which is not in the image`, loaderHint(files));
}

/** 32-bit programs run on 64-bit hosts, unless the kernel refused just now. */
function runsOn(machine: string, { hostArch, errno }: DiagnoseInput): boolean {
  if (machine === hostArch) return true;
  if (errno === 'ENOEXEC') return false;
  return (hostArch === 'amd64' && machine === '386') || (hostArch === 'arm64' && machine === 'arm');
}

function loaderOf(executable: Executable): string | undefined {
  return executable.type === 'elf' ? executable.interpreter : undefined;
}

const MUSL_LOADERS = ['/lib/ld-musl-x86_64.so.1', '/lib/ld-musl-aarch64.so.1'];
const GLIBC_LOADERS = ['/lib64/ld-linux-x86-64.so.2', '/lib/ld-linux-aarch64.so.1'];

function loaderHint(files: ImageFiles): string {
  const has = (paths: readonly string[]): boolean => paths.some((path) => statOf(files, path) !== undefined);
  if (has(MUSL_LOADERS)) {
    return 'The image has musl (Alpine), the program is built for glibc: install gcompat, build it for musl, or use an image with glibc';
  }
  if (has(GLIBC_LOADERS)) {
    return 'The image has glibc, the program is built for another C library: build it for glibc or link it statically';
  }
  return 'The image has no C library: link the program statically, or use an image that has one';
}

function byErrno(input: DiagnoseInput, files: ImageFiles, path: string, stat: StatInRoot): Diagnosis {
  const name = JSON.stringify(input.argv0);
  switch (input.errno) {
    case 'EACCES':
      return deniedBecause(name, files, path, stat);
    case 'ENOENT':
      return { message: `exec: ${name}: stat ${path}: no such file or directory`, exitCode: 127 };
    case 'E2BIG':
      return {
        message: `exec: ${name}: argument list too long`,
        hint: 'Arguments and environment together may have 2 MiB or a quarter of the stack limit, one of them 128 KiB',
        exitCode: 126,
      };
    default:
      return { message: `exec: ${name}: ${WORDS[input.errno] ?? input.errno}`, exitCode: 126 };
  }
}

const WORDS: Readonly<Record<string, string>> = {
  ENOEXEC: 'exec format error',
  EPERM: 'operation not permitted',
  ETXTBSY: 'text file busy',
  ELOOP: 'too many levels of symbolic links',
  ENOMEM: 'cannot allocate memory',
  ELIBBAD: 'accessing a corrupted shared library',
};

function deniedBecause(name: string, files: ImageFiles, path: string, stat: StatInRoot): Diagnosis {
  const denied = `exec: ${name}: permission denied`;
  if ((stat.mode & 0o111) === 0) {
    return {
      message: `${denied}: "${path}" is not executable`,
      hint: `Run "chmod +x ${path}" when the image is built`,
      exitCode: 126,
    };
  }
  const executable = executableAt(files, path);
  if (executable.type === 'script') {
    const interpreter = statOf(files, executable.interpreter);
    if (interpreter !== undefined && (interpreter.type !== 'file' || (interpreter.mode & 0o111) === 0)) {
      return {
        message: `${denied}: the interpreter "${executable.interpreter}" of "${path}" is not executable`,
        exitCode: 126,
      };
    }
  }
  return {
    message: denied,
    hint: `"${path}" has mode ${stat.mode.toString(8).padStart(4, '0')} and belongs to ${stat.uid}:${stat.gid}: the container's user may not execute it, or it lies on a mount with noexec`,
    exitCode: 126,
  };
}
