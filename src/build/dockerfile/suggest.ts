/**
 * What was probably meant: the nearest of some names, at most two edits away (BuildKit's measure), in the case of the word.
 * Nothing where the word is one of the names: it was not the word that was wrong.
 */
export function suggest(word: string, names: Iterable<string>, caseSensitive: boolean): string | undefined {
  const fold = (text: string): string => (caseSensitive ? text : text.toLowerCase());
  const wanted = fold(word);
  let best: string | undefined;
  let bestDistance = 3;
  for (const name of names) {
    const candidate = fold(name);
    if (candidate === wanted) return undefined;
    if (Math.abs(candidate.length - wanted.length) >= bestDistance) continue;
    const distance = editDistance(wanted, candidate);
    if (distance < bestDistance) [best, bestDistance] = [name, distance];
  }
  if (best === undefined || caseSensitive) return best;
  return word === word.toLowerCase()
    ? best.toLowerCase()
    : word === word.toUpperCase()
      ? best.toUpperCase()
      : best;
}

/** ` (did you mean FROM?)`, or nothing. */
export function didYouMean(word: string, names: Iterable<string>, caseSensitive: boolean): string {
  const name = suggest(word, names, caseSensitive);
  return name === undefined ? '' : ` (did you mean ${name}?)`;
}

/** Levenshtein's, row by row. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const change = a[i - 1] === b[j - 1] ? 0 : 1;
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, (row[j - 1] ?? 0) + change));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
