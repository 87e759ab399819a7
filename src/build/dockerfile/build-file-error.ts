import { describe, TinyrunError } from '../../errors.ts';
import type { Dockerfile, Location } from './ast.ts';

/** An error in a Dockerfile, with the lines that it is about. The hint (`did you mean FROM?`) is in the message, as BuildKit's. */
export class BuildFileError extends TinyrunError {
  override readonly name = 'BuildFileError';
  readonly file: string;
  /** From 1. */
  readonly line: number;
  /**
   * What is shown above the message, several lines:
   *
   *     Dockerfile:1
   *     --------------------
   *        1 | >>> FRM busybox
   *        2 |     RUN make
   *     --------------------
   */
  readonly excerpt: string;

  constructor(source: SourceText, location: Location, message: string, cause?: unknown) {
    super('invalid', message, cause === undefined ? {} : { cause });
    this.file = source.fileName;
    this.line = location.startLine;
    this.excerpt = excerptOf(source, location);
  }
}

export type SourceText = Pick<Dockerfile, 'fileName' | 'lines'>;

/** Carries out something about an instruction; an error that names no line yet gets that of the instruction. */
export function atLine<T>(source: SourceText, location: Location, action: () => T): T {
  try {
    return action();
  } catch (error) {
    if (error instanceof BuildFileError || !(error instanceof TinyrunError)) throw error;
    throw new BuildFileError(source, location, describe(error), error);
  }
}

/** A long line is cut: a message is for a person. */
const LINE_MAX = 300;
const RULE = '-'.repeat(20);

/** BuildKit's form; the lines around are two before and after, four where only one line is meant. */
export function excerptOf({ fileName, lines }: SourceText, { startLine, endLine }: Location): string {
  if (startLine < 1 || startLine > lines.length) return '';
  const last = Math.min(Math.max(endLine, startLine), lines.length);
  const [from, to] = surrounding(startLine, last, lines.length);
  const shown: string[] = [];
  for (let number = from; number <= to; number++) {
    const mark = number >= startLine && number <= last ? '>>>' : '   ';
    const line = lines[number - 1] ?? '';
    shown.push(
      ` ${String(number).padStart(3)} | ${mark} ${line.length > LINE_MAX ? `${line.slice(0, LINE_MAX)}…` : line}`,
    );
  }
  return [`${fileName}:${startLine}`, RULE, ...shown, RULE].join('\n');
}

function surrounding(start: number, end: number, count: number): [number, number] {
  const wanted = start === end ? 4 : 2;
  let [from, to] = [start, end];
  for (let added = 0; added < wanted; added++) {
    if (from > 1) {
      from--;
      added++;
    }
    if (to !== count) {
      to++;
      added++;
    }
  }
  return [from, to];
}
