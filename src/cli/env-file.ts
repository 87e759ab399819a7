export type Environment = Readonly<Record<string, string | undefined>>;

/**
 * The lines of `--env-file` and `--label-file`: `KEY=value` as it stands, `KEY` takes its value from `env` or is left out,
 * `#` begins a comment line.
 * @param read the file's text
 * @see https://github.com/docker/cli/blob/master/pkg/kvfile/kvfile.go
 */
export function parseKeyValueFile(text: string, env: Environment | undefined): string[] {
  const result: string[] = [];
  for (const raw of text.replace(/^\uFEFF/, '').split('\n')) {
    const line = raw.replace(/\r$/, '').trimStart();
    if (line === '' || line.startsWith('#')) continue;
    const equals = line.indexOf('=');
    const key = equals < 0 ? line : line.slice(0, equals);
    if (key === '') throw new Error(`no variable name on line '${line}'`);
    if (/\s/.test(key)) throw new Error(`variable '${key}' contains whitespaces`);
    if (equals >= 0) result.push(line);
    else if (env === undefined) result.push(line);
    else if (env[key] !== undefined) result.push(`${key}=${env[key]}`);
  }
  return result;
}

/** One `-e`: `KEY=value`, or `KEY` whose value is taken from `env`; undefined where it has none there. */
export function parseEnv(text: string, env: Environment): string | undefined {
  const equals = text.indexOf('=');
  if (text === '' || equals === 0) throw new Error(`invalid environment variable: ${text}`);
  if (equals > 0) return text;
  const value = env[text];
  return value === undefined ? undefined : `${text}=${value}`;
}

/** `key=value` texts as a record, the last one winning; a key alone has the empty value. */
export function keyValues(texts: readonly string[]): Record<string, string> {
  const result: Record<string, string> = {};
  for (const text of texts) {
    const equals = text.indexOf('=');
    result[equals < 0 ? text : text.slice(0, equals)] = equals < 0 ? '' : text.slice(equals + 1);
  }
  return result;
}
