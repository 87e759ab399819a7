/** A kernel list such as `0-3,8` as a set, or undefined where it is none (or absurdly large). */
export function parseCpuList(text: string): Set<number> | undefined {
  const members = new Set<number>();
  for (const part of text.split(',')) {
    if (part === '' && text === '') break;
    const match = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(part.trim());
    if (match === null) return undefined;
    const first = Number(match[1]);
    const last = match[2] === undefined ? first : Number(match[2]);
    if (last < first || last > 8191) return undefined;
    for (let index = first; index <= last; index += 1) members.add(index);
  }
  return members;
}
