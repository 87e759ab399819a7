/**
 * The Dockerfile language (`docker/dockerfile:1`) as data. Everything here is as it was written: variables are not
 * expanded (expand.ts does that, when a stage's environment is known), nothing is looked up.
 * https://docs.docker.com/reference/dockerfile/
 */
export interface Dockerfile {
  /** For messages: the path as the user named it, `-` for standard input. */
  readonly fileName: string;
  readonly escape: Escape;
  readonly directives: { readonly syntax?: string; readonly check?: string };
  readonly instructions: readonly Instruction[];
  /** What the reader itself saw (empty continuation lines); lint.ts finds the rest. */
  readonly warnings: readonly BuildWarning[];
  /** The source, for excerpts. */
  readonly lines: readonly string[];
}

export type Escape = '\\' | '`';

/** Lines of the file, from 1, both included. */
export interface Location {
  readonly startLine: number;
  readonly endLine: number;
}

/** One finding of a check, in BuildKit's words. */
export interface BuildWarning {
  readonly rule: string;
  readonly message: string;
  readonly description: string;
  readonly url?: string;
  readonly location?: Location;
}

interface Common {
  readonly location: Location;
  /** The instruction with continuations joined, as BuildKit shows it in progress and history (`RUN echo a   && b`). */
  readonly original: string;
  /** The name as it was written (`from`), for messages. */
  readonly written: string;
  /** The comment lines directly above, without `#`. */
  readonly comments: readonly string[];
}

export interface Heredoc {
  readonly name: string;
  /** The lines between, with their ends; with `chomp` their leading tabs are still there for RUN (the shell cuts them). */
  readonly content: string;
  /** No part of the name was quoted: variables in the content are expanded. */
  readonly expand: boolean;
  /** `<<-`: leading tabs do not count. */
  readonly chomp: boolean;
}

/** `["a","b"]`, or a line for the shell (SHELL decides which). */
export type CommandLine =
  | { readonly form: 'exec'; readonly words: readonly string[] }
  | { readonly form: 'shell'; readonly text: string };

export interface KeyValue {
  readonly key: string;
  readonly value: string;
  /** `ENV key value`, without `=`: one pair, the value is the rest of the line. */
  readonly legacy: boolean;
}

export interface From extends Common {
  readonly name: 'FROM';
  /** Unexpanded: an image, a stage's name, `scratch`. */
  readonly image: string;
  /** Lower case, as BuildKit compares it. */
  readonly alias?: string;
  /** The alias and the word AS as written, for the casing checks. */
  readonly aliasWritten?: { readonly as: string; readonly alias: string };
  readonly flags: { readonly platform?: string };
}

export interface Run extends Common {
  readonly name: 'RUN';
  readonly command: CommandLine;
  readonly heredocs: readonly Heredoc[];
  readonly flags: {
    readonly mount: readonly RawMount[];
    readonly network?: string;
    readonly security?: string;
    readonly device: readonly string[];
  };
}

/** A `--mount` before expansion; parseMount (run-mount.ts) makes a RunMount of it when the environment is known. */
export interface RawMount {
  readonly text: string;
  /** `from=` may not hold variables, so that the stages a stage needs are known beforehand. */
  readonly from?: string;
}

export type MountSharing = 'shared' | 'private' | 'locked';

interface MountOwner {
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
}

/** A `--mount` after expansion. `target` may be relative to the WORKDIR. */
export type RunMount =
  | {
      readonly type: 'bind';
      readonly from?: string;
      readonly source?: string;
      readonly target: string;
      readonly readOnly: boolean;
    }
  | ({
      readonly type: 'cache';
      /** Default: the target, cleaned. */
      readonly id?: string;
      readonly from?: string;
      readonly source?: string;
      readonly target: string;
      readonly readOnly: boolean;
      readonly sharing: MountSharing;
    } & MountOwner)
  | {
      readonly type: 'tmpfs';
      readonly target: string /** bytes */;
      readonly size?: number;
      readonly readOnly: boolean;
    }
  | ({
      readonly type: 'secret';
      readonly id: string;
      /** Absent where only `env` is given; else default `/run/secrets/<id>`. */
      readonly target?: string;
      /** The variable that holds the secret. */
      readonly env?: string;
      readonly required: boolean;
    } & MountOwner)
  | ({
      readonly type: 'ssh';
      /** Default `default`. */
      readonly id: string;
      /** Default `/run/buildkit/ssh_agent.<n>`, chosen by the executor. */
      readonly target?: string;
      readonly required: boolean;
    } & MountOwner);

/** A source of COPY or ADD: a path or URL, or the file that a heredoc makes. */
export type Source =
  | { readonly type: 'path'; readonly path: string }
  | { readonly type: 'content'; readonly name: string; readonly data: string; readonly expand: boolean };

export interface Copy extends Common {
  readonly name: 'COPY';
  readonly sources: readonly Source[];
  readonly destination: string;
  readonly flags: {
    readonly from?: string;
    readonly chown?: string;
    readonly chmod?: string;
    readonly link: boolean;
    readonly parents: boolean;
    readonly exclude: readonly string[];
  };
}

export interface Add extends Common {
  readonly name: 'ADD';
  readonly sources: readonly Source[];
  readonly destination: string;
  readonly flags: {
    readonly chown?: string;
    readonly chmod?: string;
    readonly link: boolean;
    readonly exclude: readonly string[];
    readonly checksum?: string;
    readonly keepGitDir?: boolean;
    /** Absent: local archives yes, remote ones no. */
    readonly unpack?: boolean;
  };
}

export interface Env extends Common {
  readonly name: 'ENV';
  readonly pairs: readonly KeyValue[];
}

export interface Label extends Common {
  readonly name: 'LABEL';
  readonly pairs: readonly KeyValue[];
}

export interface Arg extends Common {
  readonly name: 'ARG';
  readonly args: readonly { readonly key: string; readonly value?: string }[];
}

export interface Workdir extends Common {
  readonly name: 'WORKDIR';
  readonly path: string;
}

export interface User extends Common {
  readonly name: 'USER';
  readonly user: string;
}

export interface Cmd extends Common {
  readonly name: 'CMD';
  readonly command: CommandLine;
}

export interface Entrypoint extends Common {
  readonly name: 'ENTRYPOINT';
  /** exec form without words: the entrypoint is removed. */
  readonly command: CommandLine;
}

export interface Expose extends Common {
  readonly name: 'EXPOSE';
  /** Unexpanded words, `80`, `80-90/udp`; ports.ts of this directory reads them. */
  readonly ports: readonly string[];
}

export interface Volume extends Common {
  readonly name: 'VOLUME';
  readonly paths: readonly string[];
}

export interface StopSignal extends Common {
  readonly name: 'STOPSIGNAL';
  readonly signal: string;
}

export interface Healthcheck extends Common {
  readonly name: 'HEALTHCHECK';
  /** Absent: `HEALTHCHECK NONE`. */
  readonly command?: CommandLine;
  /** Nanoseconds, as in the image config; absent where not given. */
  readonly flags: {
    readonly interval?: number;
    readonly timeout?: number;
    readonly startPeriod?: number;
    readonly startInterval?: number;
    readonly retries?: number;
  };
}

export interface Shell extends Common {
  readonly name: 'SHELL';
  readonly words: readonly string[];
}

export interface Onbuild extends Common {
  readonly name: 'ONBUILD';
  /** What is written into the image config, and parsed again (parseTrigger) by a build FROM it; heredocs included. */
  readonly expression: string;
  /** The same, parsed. */
  readonly trigger: Instruction;
}

export interface Maintainer extends Common {
  readonly name: 'MAINTAINER';
  readonly maintainer: string;
}

export type Instruction =
  | From
  | Run
  | Copy
  | Add
  | Env
  | Label
  | Arg
  | Workdir
  | User
  | Cmd
  | Entrypoint
  | Expose
  | Volume
  | StopSignal
  | Healthcheck
  | Shell
  | Onbuild
  | Maintainer;

export type InstructionName = Instruction['name'];

/** The environment of an expansion: a variable's value, undefined where it is not set. */
export type Lookup = (name: string) => string | undefined;
