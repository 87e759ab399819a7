import { RegistryError } from './errors.ts';
import { parseJsonObject, shapeOf } from './json-shape.ts';
import { printableUrl } from './printable.ts';
import type { Reply } from './transport.ts';

/** Bytes of one page. */
const LONGEST_PAGE = 4 * 1024 * 1024;
const MOST_PAGES = 1000;

/**
 * All tags of a repository, page after page.
 * @param get one path below the repository's
 * @see https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-tags
 */
export async function listTags(get: (path: string) => Promise<Reply>): Promise<string[]> {
  const tags = new Set<string>();
  let path = 'tags/list?n=1000';
  for (let page = 0; page < MOST_PAGES; page++) {
    const reply = await get(path);
    if (reply.status !== 200) throw await reply.error();
    const raw = parseJsonObject(await reply.read(LONGEST_PAGE), 'list of tags', LONGEST_PAGE);
    const before = tags.size;
    for (const tag of shapeOf('list of tags').texts(raw, 'tags') ?? []) {
      // What is no tag would become part of a URL and of a name.
      if (/^[a-zA-Z0-9_][a-zA-Z0-9_.-]{0,127}$/.test(tag)) tags.add(tag);
    }
    const next = nextPage(reply);
    if (next === undefined) return [...tags];
    if (tags.size === before) break;
    path = next;
  }
  throw new RegistryError('invalid', 'Cannot list tags: the registry never comes to an end');
}

/** Of the next page only the query is taken, so that a link leads nowhere else. */
function nextPage(reply: Reply): string | undefined {
  const match = /<([^>]*)>\s*;\s*rel="?next"?/.exec(reply.header('link') ?? '');
  if (match?.[1] === undefined) return undefined;
  if (!URL.canParse(match[1], reply.url.href)) {
    throw new RegistryError(
      'invalid',
      `GET ${printableUrl(reply.url)}: the link to the next page is no address`,
    );
  }
  return `tags/list${new URL(match[1], reply.url).search}`;
}
