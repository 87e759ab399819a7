import { RegistryError } from './errors.ts';
import { canonicalName, canonicalRepository, type Reference } from './reference.ts';

/** One `[[registry]]` table. */
export interface RegistryRule {
  /** `host[:port][/path]` or `*.example.com`. */
  readonly prefix: string;
  /** What the prefix is replaced by; absent: nothing is replaced. */
  readonly location?: string;
  readonly insecure: boolean;
  readonly blocked: boolean;
  readonly mirrors: readonly MirrorRule[];
  /** The file it stands in, for messages. */
  readonly file: string;
}

export interface MirrorRule {
  readonly location: string;
  readonly insecure: boolean;
  readonly pullFrom: 'all' | 'digest-only' | 'tag-only';
}

export interface RegistriesConfig {
  readonly rules: readonly RegistryRule[];
  /** Short name → full repository name, without tag. */
  readonly aliases: ReadonlyMap<string, string>;
  /** Registries to try for a short name, in order; empty: Docker Hub. */
  readonly searchRegistries: readonly string[];
}

/** A place that may have an image. */
export interface Endpoint {
  /** As config files name it: `docker.io`, `mirror.local:5000`. */
  readonly host: string;
  readonly repository: string;
  readonly insecure: boolean;
  readonly isMirror: boolean;
}

/**
 * Where to look for a reference: the mirrors of the longest matching prefix in order, then the registry itself.
 * @throws RegistryError `denied` for a blocked registry
 * @see https://github.com/containers/image/blob/main/docs/containers-registries.conf.5.md
 */
export function endpointsFor(reference: Reference, config: RegistriesConfig): Endpoint[] {
  const name = canonicalRepository(reference);
  const rule = matchingRule(reference, config.rules);
  const own = {
    host: reference.registry,
    repository: reference.repository,
    insecure: false,
    isMirror: false,
  };
  if (rule === undefined) return [own];
  if (rule.blocked) {
    throw new RegistryError(
      'denied',
      `Cannot pull "${name}": registry "${rule.prefix}" is blocked in "${rule.file}"`,
    );
  }
  const mirrors = rule.mirrors.filter(({ pullFrom }) => {
    if (pullFrom === 'digest-only') return reference.digest !== undefined;
    return pullFrom === 'all' || reference.digest === undefined;
  });
  const at = (location: string | undefined, insecure: boolean, isMirror: boolean): Endpoint => {
    const full = location === undefined ? name : location + name.slice(matchLength(rule.prefix, reference));
    const slash = full.indexOf('/');
    return { host: full.slice(0, slash), repository: full.slice(slash + 1), insecure, isMirror };
  };
  return [
    ...mirrors.map(({ location, insecure }) => at(location, insecure, true)),
    at(rule.location, rule.insecure, false),
  ];
}

function matchingRule(reference: Reference, rules: readonly RegistryRule[]): RegistryRule | undefined {
  let best: RegistryRule | undefined;
  for (const rule of rules) {
    if (matchLength(rule.prefix, reference) === -1) continue;
    if (best === undefined || rule.prefix.length > best.prefix.length) best = rule;
  }
  return best;
}

/** How much of the reference's full name the prefix covers; -1 for none. It covers whole parts only. */
function matchLength(prefix: string, reference: Reference): number {
  if (prefix.startsWith('*.')) {
    // Subdomains of any depth, as containers/image has it, but not the domain itself.
    return reference.registry.endsWith(prefix.slice(1)) ? reference.registry.length : -1;
  }
  const name = canonicalName(reference);
  if (!name.startsWith(prefix)) return -1;
  const next = name[prefix.length];
  const isWhole = next === undefined || next === '/' || next === ':' || next === '@';
  return isWhole ? Math.min(prefix.length, canonicalRepository(reference).length) : -1;
}

/**
 * What a name without a registry may stand for, best first; just the reference itself where the name says its registry.
 *
 * It is Docker Hub, as in Docker, unless tinyrun's own file says otherwise. The aliases and search registries of
 * containers/image's files do not count: installing another engine on the machine must not change what `busybox` means,
 * and a name that several registries could answer is an invitation to the one that squats on it.
 * @param text as the user typed it
 */
export function expandShortName(text: string, reference: Reference, config: RegistriesConfig): Reference[] {
  if (!isShortName(text)) return [reference];
  const short = reference.repository.replace(/^library\//, '');
  const alias = config.aliases.get(short);
  if (alias !== undefined) return [{ ...reference, ...splitLocation(alias) }];
  if (config.searchRegistries.length === 0) return [reference];
  return config.searchRegistries.map((registry) => ({
    ...reference,
    registry,
    repository: registry === 'docker.io' ? reference.repository : short,
  }));
}

/** True where parseReference() had to add the registry. */
function isShortName(text: string): boolean {
  const slash = text.indexOf('/');
  if (slash === -1) return true;
  const first = text.slice(0, slash);
  return first !== 'localhost' && !/[.:A-Z]/.test(first);
}

function splitLocation(location: string): { registry: string; repository: string } {
  const slash = location.indexOf('/');
  return { registry: location.slice(0, slash), repository: location.slice(slash + 1) };
}
