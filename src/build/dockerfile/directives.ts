import { TinyrunError } from '../../errors.ts';
import type { Escape } from './ast.ts';

/**
 * The `# name=value` lines at the very top. The first line that is none ends them, be it a comment.
 * https://docs.docker.com/reference/dockerfile/#parser-directives
 */
export class DirectiveReader {
  escape: Escape = '\\';
  /** Accepted and without effect: this program is the frontend. */
  syntax?: string;
  check?: string;
  readonly #seen = new Set<string>();
  #over = false;

  /** @returns whether the line (without leading spaces) was a directive */
  take(line: string, number: number): boolean {
    if (this.#over) return false;
    // The file may be executable.
    if (number === 1 && line.startsWith('#!')) return false;
    const [, written, value] = /^#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*$/.exec(line) ?? [];
    const name = written?.toLowerCase();
    if (value === undefined || (name !== 'syntax' && name !== 'escape' && name !== 'check')) {
      this.#over = true;
      return false;
    }
    if (this.#seen.has(name))
      throw new TinyrunError('invalid', `only one ${name} parser directive can be used`);
    this.#seen.add(name);
    if (name === 'escape') this.escape = escapeOf(value);
    // What stands after a space is for people.
    else this[name] = name === 'check' ? value : (value.split(' ')[0] ?? value);
    return true;
  }
}

function escapeOf(value: string): Escape {
  if (value === '\\' || value === '`') return value;
  throw new TinyrunError('invalid', `invalid escape token '${value}' does not match \` or \\`);
}
