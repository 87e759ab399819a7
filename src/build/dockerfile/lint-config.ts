import { TinyrunError } from '../../errors.ts';
import { parseBool } from '../../oci/go-values.ts';

/** `# check=skip=A,B;error=true`: which checks are made, and whether a finding is an error. */
export interface LintConfig {
  readonly skip: ReadonlySet<string> | 'all';
  readonly experimental: ReadonlySet<string> | 'all';
  readonly error: boolean;
}

const NONE: LintConfig = { skip: new Set(), experimental: new Set(), error: false };

/** @throws TinyrunError in BuildKit's words */
export function parseLintConfig(text: string | undefined): LintConfig {
  let config = NONE;
  if (text === undefined || text.trim() === '') return config;
  for (const part of text.trim().split(';').slice(0, 3)) {
    const at = part.indexOf('=');
    if (at < 0) throw invalid(part);
    const key = part.slice(0, at).trim();
    const value = part.slice(at + 1).trim();
    if (key === 'skip' || key === 'experimental') {
      const rules = value === 'all' ? 'all' : new Set(value.split(',').map((rule) => rule.trim()));
      config = { ...config, [key]: rules };
    } else if (key === 'error') config = { ...config, error: booleanOf(value, part) };
    else throw invalid(key);
  }
  return config;
}

function booleanOf(value: string, part: string): boolean {
  try {
    return parseBool(value);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new TinyrunError('invalid', `failed to parse check option ${JSON.stringify(part)}: ${why}`);
  }
}

function invalid(option: string): TinyrunError {
  return new TinyrunError('invalid', `invalid check option ${JSON.stringify(option)}`);
}

/** With what comments directly above an instruction say (`# check=skip=A`), for that instruction. */
export function withComments(config: LintConfig, comments: readonly string[]): LintConfig {
  for (const comment of comments) {
    const [, value] = /^check\s*=\s*(\S+)/i.exec(comment) ?? [];
    if (value === undefined) continue;
    try {
      const own = parseLintConfig(value);
      return {
        ...config,
        skip: union(config.skip, own.skip),
        experimental: union(config.experimental, own.experimental),
      };
    } catch {
      // A comment is no directive: what is wrong in it is no error.
      return config;
    }
  }
  return config;
}

function union(a: LintConfig['skip'], b: LintConfig['skip']): LintConfig['skip'] {
  return a === 'all' || b === 'all' ? 'all' : new Set([...a, ...b]);
}

export function isChecked(config: LintConfig, rule: string, experimental: boolean): boolean {
  const has = (rules: LintConfig['skip']): boolean => rules === 'all' || rules.has(rule);
  return experimental ? has(config.experimental) : !has(config.skip);
}
