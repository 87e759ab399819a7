import type { RegistriesConfig } from './mirrors.ts';
import { DEFAULT_REGISTRY, type Reference } from './reference.ts';

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
    repository: registry === DEFAULT_REGISTRY ? reference.repository : short,
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
