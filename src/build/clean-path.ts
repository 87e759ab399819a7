/** Go's path.Clean: no empty parts, no `.`, `..` resolved by text. `''` becomes `.`. */
export function cleanPath(path: string): string {
  const absolute = path.startsWith('/');
  const parts: string[] = [];
  for (const part of path.split('/')) {
    if (part === '' || part === '.') continue;
    if (part !== '..') parts.push(part);
    else if (parts.length > 0 && parts.at(-1) !== '..') parts.pop();
    else if (!absolute) parts.push(part);
  }
  const joined = parts.join('/');
  return absolute ? `/${joined}` : joined === '' ? '.' : joined;
}

/** Relative to a root that it cannot leave: `/../a/./b` → `a/b`, `.` → ``. */
export function insideRoot(path: string): string {
  return cleanPath(`/${path}`).slice(1);
}
