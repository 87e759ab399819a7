import { TinyrunError } from '../../errors.ts';
import { cleanPath } from '../clean-path.ts';
import type { Add, Arg, Copy, Dockerfile, Env, Expose, From, Instruction } from './ast.ts';
import { expandWith } from './expand.ts';
import { parseExposed } from './exposed-ports.ts';
import type { LintInput, Reporter } from './lint.ts';
import { parseMount } from './run-mount.ts';
import type { Stage } from './stage.ts';
import { suggest } from './suggest.ts';

/** What a stage leaves to those that are FROM it. */
export interface StageFacts {
  /** undefined: its image is not known. */
  readonly env: ReadonlyMap<string, string> | undefined;
  readonly args: ReadonlySet<string>;
  readonly hasShell: boolean;
  readonly hasWorkdir: boolean;
}

interface StageInput extends LintInput {
  readonly known: ReadonlyMap<number, StageFacts>;
}

/** Goes through a stage as a build would, without running anything. */
export function lintStage(
  dockerfile: Dockerfile,
  stage: Stage,
  input: StageInput,
  report: Reporter,
): StageFacts {
  const walk = new StageWalk(dockerfile, startOf(stage, input), input, report);
  for (const instruction of stage.instructions) walk.instruction(instruction);
  return walk.facts();
}

const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

function startOf({ base }: Stage, { known, image }: StageInput): StageFacts {
  const nothing = { args: new Set<string>(), hasShell: false, hasWorkdir: false };
  const path = new Map([['PATH', DEFAULT_PATH]]);
  if (base.type === 'scratch') return { ...nothing, env: path };
  if (base.type === 'stage') return known.get(base.index) ?? { ...nothing, env: undefined };
  const facts = base.type === 'image' ? image?.(base.reference) : undefined;
  if (facts === undefined) return { ...nothing, env: undefined };
  const env = new Map(path);
  for (const pair of facts.env) {
    const at = pair.indexOf('=');
    if (at > 0) env.set(pair.slice(0, at), pair.slice(at + 1));
  }
  return { ...nothing, env, hasShell: facts.hasShell };
}

type Body = Exclude<Instruction, From>;

class StageWalk {
  readonly #dockerfile: Dockerfile;
  readonly #input: StageInput;
  readonly #report: Reporter;
  readonly #isKnown: boolean;
  readonly #env: Map<string, string>;
  readonly #args: Set<string>;
  readonly #last = new Map<string, Body>();
  #hasShell: boolean;
  #hasWorkdir: boolean;

  constructor(dockerfile: Dockerfile, start: StageFacts, input: StageInput, report: Reporter) {
    this.#dockerfile = dockerfile;
    this.#input = input;
    this.#report = report;
    this.#isKnown = start.env !== undefined;
    this.#env = new Map(start.env);
    this.#args = new Set(start.args);
    this.#hasShell = start.hasShell;
    this.#hasWorkdir = start.hasWorkdir;
  }

  facts(): StageFacts {
    const env = this.#isKnown ? this.#env : undefined;
    return { env, args: this.#args, hasShell: this.#hasShell, hasWorkdir: this.#hasWorkdir };
  }

  instruction(instruction: Body): void {
    switch (instruction.name) {
      case 'ARG':
        this.#arg(instruction);
        break;
      case 'ENV':
        this.#environment(instruction);
        break;
      case 'LABEL':
        this.#legacy(instruction, instruction.pairs);
        for (const { key, value } of instruction.pairs) this.#expand(instruction, key, value);
        break;
      case 'COPY':
      case 'ADD':
        this.#copy(instruction);
        break;
      case 'RUN':
        for (const mount of instruction.flags.mount)
          this.#quietly(() => parseMount(mount, (value) => this.#expand(instruction, value)));
        break;
      case 'WORKDIR':
        if (!this.#hasWorkdir && !this.#expand(instruction, instruction.path).startsWith('/'))
          this.#report('WorkdirRelativePath', instruction, this.#expandQuietly(instruction.path));
        this.#hasWorkdir = true;
        break;
      case 'USER':
        this.#expand(instruction, instruction.user);
        break;
      case 'VOLUME':
        this.#expand(instruction, ...instruction.paths);
        break;
      case 'STOPSIGNAL':
        this.#expand(instruction, instruction.signal);
        break;
      case 'EXPOSE':
        this.#expose(instruction);
        break;
      case 'SHELL':
        this.#hasShell = true;
        break;
      case 'CMD':
      case 'ENTRYPOINT':
        this.#once(instruction);
        if (instruction.command.form === 'shell' && !this.#hasShell)
          this.#report('JSONArgsRecommended', instruction, instruction.written);
        break;
      case 'HEALTHCHECK':
        this.#once(instruction);
        break;
      default:
        break;
    }
  }

  #once(instruction: Body): void {
    // The earlier one is the one that does nothing.
    const before = this.#last.get(instruction.name);
    if (before !== undefined) this.#report('MultipleInstructionsDisallowed', before, instruction.written);
    this.#last.set(instruction.name, instruction);
  }

  #arg(arg: Arg): void {
    const { buildArgs } = this.#input.args;
    for (const { key, value } of arg.args) {
      this.#secret(arg, key);
      const given = Object.hasOwn(buildArgs, key) ? buildArgs[key] : undefined;
      const result =
        given ?? (value === undefined ? this.#input.stages.globalArgs.get(key) : this.#expand(arg, value));
      if (result !== undefined) this.#env.set(key, result);
      this.#args.add(key);
    }
  }

  #environment(env: Env): void {
    this.#legacy(env, env.pairs);
    const values = env.pairs.map(
      ({ key, value }) => [this.#expand(env, key), this.#expand(env, value)] as const,
    );
    for (const [key, value] of values) {
      this.#secret(env, key);
      this.#env.set(key, value);
    }
  }

  #legacy(instruction: Body, pairs: Env['pairs']): void {
    for (const { legacy } of pairs)
      if (legacy) this.#report('LegacyKeyValueFormat', instruction, instruction.written);
  }

  #secret(instruction: Arg | Env, key: string): void {
    if (SECRET.test(key) && !NO_SECRET.test(key))
      this.#report('SecretsUsedInArgOrEnv', instruction, instruction.name, key);
  }

  #copy(copy: Copy | Add): void {
    const { flags, sources, destination, name } = copy;
    this.#expand(copy, ...[flags.chown, flags.chmod].filter((text) => text !== undefined));
    for (const source of sources) {
      if (source.type === 'content') {
        if (source.expand) this.#expand(copy, source.data);
        continue;
      }
      const path = this.#expand(copy, source.path);
      if (name === 'ADD' || flags.from === undefined) this.#ignored(copy, path);
    }
    this.#expand(copy, destination);
  }

  #ignored(copy: Copy | Add, source: string): void {
    const { ignore } = this.#input;
    // With exceptions, part of an ignored directory may be there.
    if (ignore === undefined || ignore.exceptions || /^[a-z]+:\/\//.test(source)) return;
    const path = cleanPath(source);
    const isTop = path === '.' || path === '/';
    if (isTop ? ignore.ignoresAll : ignore.ignored(path))
      this.#report('CopyIgnoredFile', copy, copy.name === 'ADD' ? 'Add' : 'Copy', path);
  }

  #expose(expose: Expose): void {
    for (const word of expose.ports)
      this.#quietly(() => {
        const { words } = expandWith(word, this.#options());
        for (const port of words) {
          const { upperCase, mapped } = parseExposed(port);
          if (upperCase) this.#report('ExposeProtoCasing', expose, port);
          if (mapped) this.#report('ExposeInvalidFormat', expose, port);
        }
      });
  }

  #options(): { lookup: (name: string) => string | undefined; escape: Dockerfile['escape'] } {
    return { lookup: (name) => this.#env.get(name), escape: this.#dockerfile.escape };
  }

  /** @returns the first word expanded; what is wrong in one is an error of the build, not of the check */
  #expand(instruction: Body, ...words: readonly string[]): string {
    const results = words.map((word) => {
      let text = word;
      this.#quietly(() => {
        const expanded = expandWith(word, this.#options());
        text = expanded.text;
        this.#undefined(instruction, expanded.unmatched);
      });
      return text;
    });
    return results[0] ?? '';
  }

  #expandQuietly(word: string): string {
    let text = word;
    this.#quietly(() => {
      text = expandWith(word, this.#options()).text;
    });
    return text;
  }

  #undefined(instruction: Body, names: ReadonlySet<string>): void {
    if (!this.#isKnown) return;
    for (const name of names)
      if (!this.#args.has(name) && !name.startsWith('BUILDKIT_SBOM_SCAN_'))
        this.#report('UndefinedVar', instruction, name, suggest(name, this.#env.keys(), true) ?? '');
  }

  #quietly(action: () => void): void {
    try {
      action();
    } catch (error) {
      if (!(error instanceof TinyrunError)) throw error;
    }
  }
}

const SECRET = /(?:_|^)(?:apikey|auth|credentials?|key|password|pword|passwd|secret|token)(?:_|$)/i;
const NO_SECRET = /(?:_|^)(?:public|file|version)(?:_|$)/i;
