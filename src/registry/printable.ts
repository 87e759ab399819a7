/** Control, bidirectional and zero-width characters: in a message from outside they would steer the terminal. */
const UNPRINTABLE = /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]+/g;

/** Text from outside, fit for one line of an error: no control characters, at most `longest` characters. */
export function printable(text: string, longest = 300): string {
  const line = text
    .slice(0, 4 * longest)
    .replace(UNPRINTABLE, ' ')
    .trim();
  return line.length > longest ? `${line.slice(0, longest)}…` : line;
}

/** A URL without what may be secret in it: user, password, query (signed storage URLs) and fragment. */
export function printableUrl(url: URL | string): string {
  let parsed: URL;
  try {
    parsed = new URL(url);
  } catch {
    return printable(String(url).replace(/\/\/[^/]*@/, '//'), 80);
  }
  return printable(`${parsed.protocol}//${parsed.host}${parsed.pathname}${parsed.search === '' ? '' : '?…'}`);
}
