import type { Escape, Lookup } from './dockerfile/ast.ts';
import { expand, expandWords } from './dockerfile/expand.ts';
import { PROXY_ARGS } from './dockerfile/stages.ts';

/** What ARG can get a value from, besides its own default. */
export interface ArgSources {
  readonly buildArgs: Readonly<Record<string, string>>;
  /** Values of ARGs before the first FROM, `--build-arg` counted in. */
  readonly globalArgs: ReadonlyMap<string, string>;
  /** BUILDPLATFORM, TARGETARCH and so on, which a stage has to declare. */
  readonly platformArgs: Readonly<Record<string, string>>;
}

/** The variables of a stage after some of its instructions: ARGs by value, ENV from the image config. */
export class StageVariables {
  readonly #sources: ArgSources;
  readonly #escape: Escape;
  readonly #args = new Map<string, string | undefined>();

  constructor(sources: ArgSources, token: Escape) {
    this.#sources = sources;
    this.#escape = token;
  }

  /** `ARG key` or `ARG key=value`, the value expanded. @returns what it is now */
  declare(key: string, value: string | undefined): string | undefined {
    const { buildArgs, globalArgs, platformArgs } = this.#sources;
    const given = own(buildArgs, key);
    const inherited = value ?? globalArgs.get(key) ?? own(platformArgs, key);
    const result = given ?? inherited;
    this.#args.set(key, result);
    return result;
  }

  /** ENV stands before ARG. @param env `KEY=value` */
  lookup(env: readonly string[]): Lookup {
    return (name) => {
      const entry = env.findLast((one) => one.startsWith(`${name}=`));
      return entry === undefined ? this.#args.get(name) : entry.slice(name.length + 1);
    };
  }

  expand(word: string, env: readonly string[]): string {
    return word.includes('$') || /['"\\`]/.test(word) ? expand(word, this.lookup(env), this.#escape) : word;
  }

  words(word: string, env: readonly string[]): readonly string[] {
    return expandWords(word, this.lookup(env), this.#escape);
  }

  /**
   * What a RUN sees besides ENV: the ARGs that were declared and have a value, sorted by name as BuildKit shows them in the
   * history. Those that ENV has, too, are not among them.
   */
  buildArgs(env: readonly string[]): string[] {
    const names = new Set(env.map((entry) => entry.slice(0, Math.max(0, entry.indexOf('=')))));
    const found = [...this.#args].flatMap(([key, value]) =>
      value === undefined || names.has(key) ? [] : [`${key}=${value}`],
    );
    return found.sort();
  }

  /** Proxies given by `--build-arg`: for RUN, but neither in the history nor in the cache key. */
  proxies(): string[] {
    return PROXY_ARGS.flatMap((key) => {
      const value = own(this.#sources.buildArgs, key);
      return value === undefined || this.#args.has(key) ? [] : [`${key}=${value}`];
    });
  }
}

function own(record: Readonly<Record<string, string>>, key: string): string | undefined {
  return Object.hasOwn(record, key) ? record[key] : undefined;
}
