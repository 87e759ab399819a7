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
