/** `--filter KEY=VALUE` as its two halves; `label!=x` has the key `label!`. @throws Error that the parser puts the flag's name before */
export function filterPair(text: string): [key: string, value: string] {
  const equals = text.indexOf('=');
  if (equals < 0) throw new Error('invalid filter: expected KEY=VALUE');
  return [text.slice(0, equals).toLowerCase().trim(), text.slice(equals + 1).trim()];
}
