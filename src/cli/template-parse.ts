/** The grammar of Go's text/template, as far as `--format` meets it. */
export class TemplateError extends Error {
  override readonly name = 'TemplateError';
}

export type Node =
  | { readonly type: 'text'; readonly text: string }
  | { readonly type: 'print'; readonly pipe: Pipe }
  | { readonly type: 'if' | 'with'; readonly pipe: Pipe; readonly body: Node[]; readonly otherwise: Node[] }
  | {
      readonly type: 'range';
      readonly variables: readonly string[];
      readonly pipe: Pipe;
      readonly body: Node[];
      readonly otherwise: Node[];
    };

export interface Pipe {
  /** `$x :=` or `$x =` in front. */
  readonly assign?: string;
  readonly commands: readonly (readonly Term[])[];
}

export type Term =
  | { readonly type: 'value'; readonly value: string | number | boolean | null }
  /** `.A.B`; no names: the dot itself. */
  | { readonly type: 'field'; readonly names: readonly string[] }
  | { readonly type: 'variable'; readonly name: string; readonly names: readonly string[] }
  | { readonly type: 'function'; readonly name: string }
  | { readonly type: 'pipe'; readonly pipe: Pipe; readonly names: readonly string[] };

/** @throws TemplateError */
export function parseTemplate(source: string): Node[] {
  const parser = new TemplateParser(pieces(source));
  const nodes = parser.block();
  if (parser.ended !== undefined) throw new TemplateError(`unexpected {{${parser.ended}}}`);
  return nodes;
}

type Piece = { readonly text: string } | { readonly action: string };

const TOKEN =
  /\s+|"(?:[^"\\]|\\.)*"|`[^`]*`|'(?:[^'\\]|\\.)*'|:=|[=|(),]|\$?(?:\.?[\p{L}\p{N}_]+)+|\$|\.|[+-]?[0-9][0-9.]*/uy;

/** Splits at `{{` and `}}`, with the trimming that `{{- ` and ` -}}` ask for; comments vanish. */
function pieces(source: string): Piece[] {
  const result: Piece[] = [];
  let at = 0;
  let trim = false;
  while (at < source.length) {
    const open = source.indexOf('{{', at);
    let text = source.slice(at, open < 0 ? source.length : open);
    if (trim) text = text.trimStart();
    if (open < 0) {
      result.push({ text });
      break;
    }
    const close = endOfAction(source, open + 2);
    let action = source.slice(open + 2, close);
    if (/^-\s/.test(action)) {
      text = text.trimEnd();
      action = action.slice(1);
    }
    trim = /\s-$/.test(action);
    if (trim) action = action.slice(0, -1);
    if (text !== '') result.push({ text });
    action = action.trim();
    if (!action.startsWith('/*')) result.push({ action });
    at = close + 2;
  }
  return result;
}

function endOfAction(source: string, from: number): number {
  let quote = '';
  for (let at = from; at < source.length; at += 1) {
    const letter = source[at] ?? '';
    if (quote !== '') {
      if (letter === '\\' && quote !== '`') at += 1;
      else if (letter === quote) quote = '';
    } else if (letter === '"' || letter === '`' || letter === "'") quote = letter;
    else if (source.startsWith('}}', at)) return at;
  }
  throw new TemplateError('unclosed action');
}

const BLOCKS = new Set(['if', 'range', 'with']);

class TemplateParser {
  /** What ended the last block: `end`, `else`, `else if …`. */
  ended: string | undefined;
  readonly #pieces: readonly Piece[];
  #at = 0;

  constructor(all: readonly Piece[]) {
    this.#pieces = all;
  }

  block(): Node[] {
    const nodes: Node[] = [];
    this.ended = undefined;
    for (;;) {
      const piece = this.#pieces[this.#at];
      if (piece === undefined) return nodes;
      this.#at += 1;
      if ('text' in piece) {
        nodes.push({ type: 'text', text: piece.text });
        continue;
      }
      const keyword = /^[a-z]+(?![\w.])/.exec(piece.action)?.[0] ?? '';
      if (keyword === 'end' || keyword === 'else') {
        this.ended = piece.action;
        return nodes;
      }
      nodes.push(
        BLOCKS.has(keyword)
          ? this.#control(keyword, piece.action.slice(keyword.length))
          : { type: 'print', pipe: parsePipe(tokenize(piece.action)) },
      );
    }
  }

  #control(keyword: string, rest: string): Node {
    const tokens = tokenize(rest);
    const variables = keyword === 'range' ? rangeVariables(tokens) : [];
    const pipe = parsePipe(tokens);
    const body = this.block();
    let otherwise: Node[] = [];
    const chained = /^else\s+(if|with)\b/.exec(this.ended ?? '');
    if (chained !== null) {
      otherwise = [this.#control(chained[1] ?? 'if', (this.ended ?? '').slice(chained[0].length))];
    } else {
      if (this.ended === 'else') otherwise = this.block();
      if (this.ended !== 'end') throw new TemplateError('unexpected EOF');
    }
    this.ended = undefined;
    if (keyword === 'range') return { type: 'range', variables, pipe, body, otherwise };
    return { type: keyword === 'if' ? 'if' : 'with', pipe, body, otherwise };
  }
}

function tokenize(text: string): string[] {
  const tokens: string[] = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < text.length) {
    const before = TOKEN.lastIndex;
    const match = TOKEN.exec(text);
    if (match === null)
      throw new TemplateError(`unexpected ${JSON.stringify(text.slice(before, before + 1))} in command`);
    // A space ends an operand: `.A .B` are two, `(x).B` is one.
    tokens.push(match[0].trim() === '' ? ' ' : match[0]);
  }
  return tokens;
}

function rangeVariables(tokens: string[]): string[] {
  const assign = tokens.indexOf(':=');
  if (assign < 0) return [];
  return tokens.splice(0, assign + 1).filter((token) => token.startsWith('$'));
}

function parsePipe(tokens: string[]): Pipe {
  const pipe = pipeUntil(tokens, undefined);
  if (tokens.length > 0) throw new TemplateError(`unexpected ${JSON.stringify(tokens[0])} in operand`);
  return pipe;
}

/** Takes tokens up to and with `stop`. */
function pipeUntil(tokens: string[], stop: string | undefined): Pipe {
  const commands: Term[][] = [[]];
  let assign: string | undefined;
  for (;;) {
    const token = tokens.shift();
    if (token === undefined || token === stop) {
      if (token !== stop) throw new TemplateError('unclosed left paren');
      break;
    }
    const command = commands.at(-1) ?? [];
    if (token === ' ') continue;
    if (token === '|') commands.push([]);
    else if (token === ':=' || token === '=') {
      const target = command.pop();
      if (target?.type !== 'variable')
        throw new TemplateError(`unexpected ${JSON.stringify(token)} in operand`);
      assign = target.name;
    } else command.push(termOf(token, tokens));
  }
  if (commands.some((command) => command.length === 0)) throw new TemplateError('missing value for command');
  return assign === undefined ? { commands } : { assign, commands };
}

const ESCAPES: Readonly<Record<string, string>> = {
  n: '\n',
  t: '\t',
  r: '\r',
  '"': '"',
  "'": "'",
  '\\': '\\',
};

function termOf(token: string, rest: string[]): Term {
  if (token === '(') {
    const pipe = pipeUntil(rest, ')');
    const after = rest[0] ?? '';
    const names = /^\.[\p{L}_]/u.test(after) ? (rest.shift() ?? '').slice(1).split('.') : [];
    return { type: 'pipe', pipe, names };
  }
  if (token.startsWith('`')) return { type: 'value', value: token.slice(1, -1) };
  if (token.startsWith('"')) {
    return {
      type: 'value',
      value: token.slice(1, -1).replace(/\\(.)/g, (all, one: string) => ESCAPES[one] ?? all),
    };
  }
  if (token.startsWith("'")) return { type: 'value', value: token.slice(1, -1).codePointAt(0) ?? 0 };
  if (token === '.') return { type: 'field', names: [] };
  if (token.startsWith('.')) return { type: 'field', names: token.slice(1).split('.') };
  if (token.startsWith('$')) {
    const [name = '$', ...names] = token.split('.');
    return { type: 'variable', name, names };
  }
  if (/^[+-]?[0-9]/.test(token)) return { type: 'value', value: Number(token) };
  if (token === 'true' || token === 'false') return { type: 'value', value: token === 'true' };
  if (token === 'nil') return { type: 'value', value: null };
  if (/^[\p{L}_][\p{L}\p{N}_]*$/u.test(token)) return { type: 'function', name: token };
  throw new TemplateError(`unexpected ${JSON.stringify(token)} in operand`);
}
