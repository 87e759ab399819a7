import { FUNCTIONS, isTrue, printed } from './template-functions.ts';
import { type Node, type Pipe, parseTemplate, TemplateError, type Term } from './template-parse.ts';

export { TemplateError } from './template-parse.ts';

/** A template ready to be applied to many values. */
export type Template = (data: unknown) => string;

/**
 * Compiles a Go template as Docker's `--format` takes it.
 * @throws TemplateError where it does not parse, and when it is applied to data that lacks a field
 * @see https://pkg.go.dev/text/template
 */
export function compileTemplate(source: string): Template {
  const nodes = parseTemplate(source);
  return (data) => {
    const scope = new Scope();
    scope.declare('$', data);
    return render(nodes, data, scope);
  };
}

/** Objects with keys of the user's making: a missing key is `<no value>`, elsewhere it is an error, as in Docker. */
const MAPS = new Set([
  'Labels',
  'Ports',
  'Networks',
  'Sysctls',
  'Options',
  'Tmpfs',
  'Annotations',
  'Volumes',
  'ExposedPorts',
  'Attributes',
]);

class Scope {
  readonly #frames: Map<string, unknown>[] = [new Map()];

  within<T>(body: () => T): T {
    this.#frames.push(new Map());
    try {
      return body();
    } finally {
      this.#frames.pop();
    }
  }

  declare(name: string, value: unknown): void {
    const holder = this.#frames.findLast((frame) => frame.has(name)) ?? this.#frames.at(-1);
    holder?.set(name, value);
  }

  get(name: string): unknown {
    const holder = this.#frames.findLast((frame) => frame.has(name));
    if (holder === undefined) throw new TemplateError(`undefined variable ${JSON.stringify(name)}`);
    return holder.get(name);
  }
}

function render(nodes: readonly Node[], dot: unknown, scope: Scope): string {
  return nodes.map((node) => renderNode(node, dot, scope)).join('');
}

function renderNode(node: Node, dot: unknown, scope: Scope): string {
  switch (node.type) {
    case 'text':
      return node.text;
    case 'print': {
      const value = evaluate(node.pipe, dot, scope);
      return node.pipe.assign === undefined ? printed(value) : '';
    }
    case 'if':
    case 'with':
      return scope.within(() => {
        const value = evaluate(node.pipe, dot, scope);
        if (!isTrue(value)) return render(node.otherwise, dot, scope);
        return render(node.body, node.type === 'with' ? value : dot, scope);
      });
    case 'range':
      return scope.within(() => {
        const entries = entriesOf(evaluate(node.pipe, dot, scope));
        if (entries.length === 0) return render(node.otherwise, dot, scope);
        const [first, second] = node.variables;
        return entries
          .map(([key, value]) =>
            scope.within(() => {
              if (first !== undefined) scope.declare(first, second === undefined ? value : key);
              if (second !== undefined) scope.declare(second, value);
              return render(node.body, value, scope);
            }),
          )
          .join('');
      });
  }
}

function entriesOf(value: unknown): [unknown, unknown][] {
  if (value === null || value === undefined) return [];
  if (Array.isArray(value)) return value.map((item, index): [unknown, unknown] => [index, item]);
  if (typeof value === 'object') return Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  if (typeof value === 'number')
    return Array.from({ length: value }, (_, index): [unknown, unknown] => [index, index]);
  throw new TemplateError(`range can't iterate over ${printed(value)}`);
}

function evaluate(pipe: Pipe, dot: unknown, scope: Scope): unknown {
  let value: unknown;
  pipe.commands.forEach((command, index) => {
    const piped = index === 0 ? [] : [value];
    const [head, ...rest] = command;
    if (head?.type === 'function') {
      const call = FUNCTIONS[head.name];
      if (call === undefined) throw new TemplateError(`function ${JSON.stringify(head.name)} not defined`);
      value = call([...rest.map((term) => evaluateTerm(term, dot, scope)), ...piped]);
    } else {
      if (head === undefined) throw new TemplateError('missing value for command');
      const given = [...rest.map((term) => evaluateTerm(term, dot, scope)), ...piped];
      value = evaluateTerm(head, dot, scope);
      // A method, such as `.Label "key"`.
      if (typeof value === 'function') value = value(...given);
      else if (given.length > 0) throw new TemplateError("can't give argument to non-function");
    }
  });
  if (pipe.assign !== undefined) scope.declare(pipe.assign, value);
  return value;
}

function evaluateTerm(term: Term, dot: unknown, scope: Scope): unknown {
  switch (term.type) {
    case 'value':
      return term.value;
    case 'field':
      return walk(dot, term.names);
    case 'variable':
      return walk(scope.get(term.name), term.names);
    case 'pipe':
      return walk(evaluate(term.pipe, dot, scope), term.names);
    case 'function': {
      const call = FUNCTIONS[term.name];
      if (call === undefined) throw new TemplateError(`function ${JSON.stringify(term.name)} not defined`);
      return call([]);
    }
  }
}

function walk(from: unknown, names: readonly string[]): unknown {
  let value = from;
  let holder = '';
  for (const name of names) {
    if (value === null || value === undefined) {
      throw new TemplateError(`nil data; no entry for key ${JSON.stringify(name)}`);
    }
    if (typeof value !== 'object' || Array.isArray(value)) {
      throw new TemplateError(
        `can't evaluate field ${name} in ${Array.isArray(value) ? 'a list' : `a ${typeof value}`}`,
      );
    }
    // Not by the values: a field may have to be read from the disk, and only the one that is wanted is.
    const key = Object.keys(value).find((one) => one === name || (name === 'ID' && one === 'Id'));
    if (key === undefined && !MAPS.has(holder)) {
      throw new TemplateError(`map has no entry for key ${JSON.stringify(name)}`);
    }
    value = key === undefined ? undefined : Reflect.get(value, key);
    holder = name;
  }
  return value;
}
