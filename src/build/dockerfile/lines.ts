import { TinyrunError } from '../../errors.ts';
import type { BuildWarning, Escape, Heredoc, Location } from './ast.ts';
import { BuildFileError } from './build-file-error.ts';
import { DirectiveReader } from './directives.ts';
import { heredocsOf } from './heredoc.ts';
import { LINT_RULES } from './lint-rules.ts';

/** An instruction as one line: continuations joined, comments within it gone, heredocs taken from the lines below. */
export interface LogicalLine {
  readonly text: string;
  readonly location: Location;
  readonly comments: readonly string[];
  readonly heredocs: readonly Heredoc[];
}

export interface ReadLines {
  readonly fileName: string;
  readonly lines: readonly string[];
  readonly escape: Escape;
  readonly directives: { readonly syntax?: string; readonly check?: string };
  readonly logical: readonly LogicalLine[];
  readonly warnings: readonly BuildWarning[];
}

/** Of one line with its continuations; BuildKit's limit is 64 KiB for one line of the file. */
const LINE_MAX = 1024 * 1024;
const FILE_MAX = 16 * 1024 * 1024;

/**
 * The first pass: directives, comments, continuations, heredocs.
 * https://docs.docker.com/reference/dockerfile/#format
 * @throws BuildFileError
 */
export function readLines(text: string, fileName: string): ReadLines {
  if (text.length > FILE_MAX)
    throw new TinyrunError('invalid', `the Dockerfile is larger than ${FILE_MAX / 1024 / 1024} MiB`);
  return new LineReader(text.replace(/^\ufeff/, ''), fileName).read();
}

class LineReader {
  readonly #fileName: string;
  /** Each with its line end, which heredocs keep. */
  readonly #raw: readonly string[];
  readonly #lines: readonly string[];
  readonly #directives = new DirectiveReader();
  readonly #logical: LogicalLine[] = [];
  readonly #warnings: BuildWarning[] = [];
  #comments: string[] = [];
  /** How many lines are read; the number of the current one. */
  #number = 0;

  constructor(text: string, fileName: string) {
    this.#fileName = fileName;
    this.#raw = text.match(/[^\n]*\n|[^\n]+$/g) ?? [];
    this.#lines = text.split('\n').map((line) => line.replace(/\r$/, ''));
  }

  read(): ReadLines {
    while (this.#number < this.#raw.length) this.#readInstruction();
    if (this.#logical.length === 0)
      this.#fail(this.#raw.length === 0 ? 0 : this.#number, EMPTY(this.#raw.length));
    const { escape: token, syntax, check } = this.#directives;
    return {
      fileName: this.#fileName,
      lines: this.#lines,
      escape: token,
      directives: { ...(syntax === undefined ? {} : { syntax }), ...(check === undefined ? {} : { check }) },
      logical: this.#logical,
      warnings: this.#warnings,
    };
  }

  /** One line of the file that begins something: a directive, a comment, an empty line or an instruction. */
  #readInstruction(): void {
    const line = trimEnd(this.#next()).trimStart();
    const start = this.#number;
    if (this.#at(start, () => this.#directives.take(line, start))) return;
    if (line.startsWith('#')) {
      const comment = line.slice(1).trim();
      this.#comments = comment === '' ? [] : [...this.#comments, comment];
      return;
    }
    let { text, goesOn } = this.#withoutContinuation(line);
    if (!goesOn && text === '') return;
    let emptyLine: number | undefined;
    while (goesOn && this.#number < this.#raw.length) {
      const following = trimEnd(this.#next());
      const trimmed = following.trimStart();
      if (trimmed.startsWith('#')) continue;
      if (trimmed === '') {
        emptyLine = this.#number;
        continue;
      }
      const rest = this.#withoutContinuation(following);
      goesOn = rest.goesOn;
      text += rest.text;
      if (text.length > LINE_MAX)
        this.#fail(start, `dockerfile line greater than max allowed size of ${LINE_MAX}`);
    }
    if (emptyLine !== undefined) this.#warnEmptyContinuation(this.#number);
    const end = this.#number;
    const heredocs = this.#at(start, () => heredocsOf(text, this.#directives.escape)).map((each) =>
      this.#readHeredoc(each, start),
    );
    this.#logical.push({
      text,
      location: { startLine: start, endLine: heredocs.length > 0 ? this.#number : end },
      comments: this.#comments,
      heredocs,
    });
    this.#comments = [];
  }

  #readHeredoc(heredoc: Omit<Heredoc, 'content'>, start: number): Heredoc {
    let content = '';
    while (this.#number < this.#raw.length) {
      const line = this.#next();
      const bare = trimEnd(line);
      if ((heredoc.chomp ? bare.replace(/^\t+/, '') : bare) === heredoc.name) return { ...heredoc, content };
      content += line;
    }
    return this.#fail(start, 'unterminated heredoc', this.#number);
  }

  /** The escape at the end of a line, unless it is escaped itself, joins the next line to it. */
  #withoutContinuation(line: string): { text: string; goesOn: boolean } {
    const token = this.#directives.escape;
    const bare = line.replace(/[ \t]+$/, '');
    if (!bare.endsWith(token) || bare.endsWith(token + token)) return { text: line, goesOn: false };
    return { text: bare.slice(0, -1), goesOn: true };
  }

  #warnEmptyContinuation(line: number): void {
    const { message, description, url } = LINT_RULES.NoEmptyContinuation;
    const location = { startLine: line, endLine: line };
    this.#warnings.push({ rule: 'NoEmptyContinuation', message: message(), description, url, location });
  }

  #next(): string {
    return this.#raw[this.#number++] ?? '';
  }

  #at<T>(line: number, action: () => T): T {
    try {
      return action();
    } catch (error) {
      if (error instanceof TinyrunError) return this.#fail(line, error.message);
      throw error;
    }
  }

  #fail(line: number, message: string, endLine = line): never {
    throw new BuildFileError(
      { fileName: this.#fileName, lines: this.#lines },
      { startLine: line, endLine },
      message,
    );
  }
}

const EMPTY = (lines: number): string =>
  lines === 0 ? 'the Dockerfile cannot be empty' : 'file with no instructions';

function trimEnd(line: string): string {
  return line.replace(/[\r\n]+$/, '');
}
