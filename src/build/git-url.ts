import { TinyrunError } from '../errors.ts';
import { parseBool } from '../oci/go-values.ts';
import { insideRoot } from './clean-path.ts';

/**
 * A repository as a context or a source of ADD: `https://host/repo.git#ref:subdir`, `git@host:repo`, and the query form
 * `?ref=…&subdir=…`. https://docs.docker.com/build/concepts/context/#url-fragments
 */
export interface GitSource {
  /** What git is given: one of http, https, ssh, git; or `user@host:path`. Begins with no dash. */
  readonly remote: string;
  /** A branch, a tag, a full name or a commit; absent: the default branch. No option, no refspec. */
  readonly ref?: string;
  /** Inside the repository: no `..`, no leading slash. */
  readonly subdir?: string;
  /** The commit that it must be, or how that begins. */
  readonly checksum?: string;
  readonly keepGitDir?: boolean;
  readonly submodules?: boolean;
  /** `commit`: files get the time of the commit. */
  readonly mtime?: 'checkout' | 'commit';
}

const SCHEMES: ReadonlySet<string> = new Set(['http', 'https', 'ssh', 'git']);
const SCP = /^(?:([a-zA-Z0-9][a-zA-Z0-9_.-]*)@)([a-zA-Z0-9][a-zA-Z0-9.-]*):([^?#]+)(\?[^#]*)?(#.*)?$/;

/**
 * @returns undefined where the text is no git source: a path, or an http address that does not end in `.git`
 * @throws TinyrunError for one that is meant as git, and wrong
 */
export function parseGitSource(text: string): GitSource | undefined {
  if (text.startsWith('./') || text.startsWith('../') || text.startsWith('-')) return undefined;
  const scheme = /^([a-zA-Z0-9]+):\/\//.exec(text)?.[1]?.toLowerCase();
  if (scheme !== undefined) return SCHEMES.has(scheme) ? fromUrl(text, scheme) : undefined;
  if (text.startsWith('github.com/')) return fromUrl(`https://${text}`, 'short');
  const [, user, host, path, query = '', fragment = ''] = SCP.exec(text) ?? [];
  if (user === undefined || host === undefined || path === undefined || path.startsWith('-'))
    return undefined;
  return withOptions(`${user}@${host}:${path}`, new URLSearchParams(query), decode(fragment.slice(1)));
}

function fromUrl(text: string, scheme: string): GitSource | undefined {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    return undefined;
  }
  if ((scheme === 'http' || scheme === 'https') && !url.pathname.endsWith('.git')) return undefined;
  // ssh would take a host that begins with a dash for an option (CVE-2017-1000117).
  if (url.hostname.startsWith('-') || url.hostname === '' || url.username.startsWith('-')) return undefined;
  const options = url.searchParams;
  const fragment = decode(url.hash.slice(1));
  url.hash = '';
  const query = new URLSearchParams(options);
  url.search = '';
  return withOptions(url.href, query, fragment);
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

const KEYS: ReadonlySet<string> = new Set(
  'ref tag branch subdir checksum commit keep-git-dir submodules mtime fetch-by-commit'.split(' '),
);

function withOptions(remote: string, query: URLSearchParams, fragment: string): GitSource {
  for (const key of query.keys()) {
    if (!KEYS.has(key)) throw invalid(`unexpected query ${JSON.stringify(key)}`);
    if (query.getAll(key).length > 1) throw invalid(`query ${JSON.stringify(key)} has multiple values`);
  }
  const colon = fragment.indexOf(':');
  const ref = refOf(query, colon < 0 ? fragment : fragment.slice(0, colon));
  const subdir = agreed('subdir', colon < 0 ? '' : fragment.slice(colon + 1), query.get('subdir'));
  const checksum = query.get('checksum') ?? query.get('commit') ?? undefined;
  if (checksum !== undefined && !/^[0-9a-f]{7,64}$/.test(checksum))
    throw invalid(`invalid checksum ${JSON.stringify(checksum)}, expected a commit hash`);
  const mtime = query.get('mtime') ?? undefined;
  if (mtime !== undefined && mtime !== 'checkout' && mtime !== 'commit')
    throw invalid(`invalid mtime value: ${JSON.stringify(mtime)} (must be "checkout" or "commit")`);
  return {
    remote,
    ...(ref === '' ? {} : { ref: checkedRef(ref) }),
    ...(insideRoot(subdir) === '' ? {} : { subdir: insideRoot(subdir) }),
    ...(checksum === undefined ? {} : { checksum }),
    ...flag(query, 'keep-git-dir', 'keepGitDir'),
    ...flag(query, 'submodules', 'submodules'),
    ...(mtime === undefined ? {} : { mtime }),
  };
}

function refOf(query: URLSearchParams, fragment: string): string {
  const tag = prefixed('refs/tags/', query.get('tag'));
  const branch = prefixed('refs/heads/', query.get('branch'));
  if (tag !== '' && branch !== '') throw invalid('branch conflicts with tag');
  return agreed('ref', agreed('ref', fragment, query.get('ref')), tag + branch);
}

function prefixed(prefix: string, name: string | null): string {
  if (name === null || name === '') return '';
  return name.startsWith(prefix) ? name : prefix + name;
}

function agreed(what: string, first: string, second: string | null): string {
  if (second === null || second === '') return first;
  if (first !== '' && first !== second)
    throw invalid(`${what} conflicts: ${JSON.stringify(first)} vs ${JSON.stringify(second)}`);
  return second;
}

function flag<Key extends string>(query: URLSearchParams, name: string, key: Key): { [K in Key]?: boolean } {
  const text = query.get(name);
  if (text === null) return {};
  try {
    return { [key]: text === '' || parseBool(text) } as { [K in Key]?: boolean };
  } catch {
    throw invalid(`invalid ${name} value: ${JSON.stringify(text)}`);
  }
}

/**
 * The rules of git-check-ref-format(1), so that what is given to git can be neither an option (CVE-2019-13139) nor a refspec.
 */
function checkedRef(ref: string): string {
  const usual = /^[^\s~^:?*[\\\x00-\x1f\x7f]{1,250}$/.test(ref);
  const wrong = /^[-/.]|\/[./]|\.\.|@\{|\/\/|[/.]$|\.lock$/.test(ref) || ref === '@';
  if (!usual || wrong) throw invalid(`invalid git ref ${JSON.stringify(ref)}`);
  return ref;
}

function invalid(message: string): TinyrunError {
  return new TinyrunError('invalid', message);
}
