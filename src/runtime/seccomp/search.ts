import { BPF, type Instruction, returns } from './bpf.ts';

/**
 * What a filter says of one (architecture, number): an action, or the place in its program where it begins to look at the
 * arguments.
 */
export type Verdict = { readonly action: number } | { readonly resume: number };

/** From `from` up to the next range's `from`. */
export interface Range {
  readonly from: number;
  readonly verdict: Verdict;
}

export function same(a: Verdict, b: Verdict): boolean {
  if ('action' in a) return 'action' in b && a.action === b.action;
  return 'resume' in b && a.resume === b.resume;
}

/**
 * A binary search that ends in the verdict of the range in which the accumulator lies.
 * @param ranges ascending, the first from 0
 * @param residue the code that a `resume` stands for; it ends by itself
 */
export function searchOf(
  ranges: readonly Range[],
  residue: (resume: number) => Instruction[],
): Instruction[] {
  const search = new Search(residue);
  search.among(cellsOf(ranges));
  return search.finish();
}

/** A range with single numbers that stand out of it: one test for equality each is half of what two bounds would take. */
interface Cell extends Range {
  readonly exceptions: Range[];
}

/** In a row, so that a search is not long for anybody. */
const MOST_EXCEPTIONS = 3;

function cellsOf(ranges: readonly Range[]): Cell[] {
  const cells: Cell[] = [];
  for (let index = 0; index < ranges.length; index += 1) {
    const [range, next] = [ranges[index], ranges[index + 1]];
    const cell = cells.at(-1);
    if (range === undefined) break;
    const single = cell !== undefined && next?.from === range.from + 1 && same(next.verdict, cell.verdict);
    if (single && cell.exceptions.length < MOST_EXCEPTIONS) {
      cell.exceptions.push(range);
      index += 1;
    } else {
      cells.push({ ...range, exceptions: [] });
    }
  }
  return cells;
}

/** A place in the code, counted from its end: stable while the code grows at its front. */
type Label = number;

/** A conditional jump skips 255 instructions at most; some are kept for the long jumps that come between. */
const REACH = 250;

/**
 * Written back to front, so that the target of every jump is there before the jump; the returns, which all branches share,
 * come to lie at the end.
 */
class Search {
  private readonly reversed: Instruction[] = [];
  private readonly returns = new Map<number, Label>();
  private readonly residue: (resume: number) => Instruction[];

  constructor(residue: (resume: number) => Instruction[]) {
    this.residue = residue;
  }

  among(cells: readonly Cell[]): Label {
    const [first, ...others] = cells;
    if (first === undefined) return 0;
    if (others.length === 0) return this.cell(first);
    const middle = cells.length >> 1;
    const upper = this.among(cells.slice(middle));
    const lower = this.among(cells.slice(0, middle));
    return this.test(BPF.jumpGreaterOrEqual, cells[middle]?.from ?? 0, upper, lower);
  }

  finish(): Instruction[] {
    return this.reversed.reverse();
  }

  private cell({ verdict, exceptions }: Cell): Label {
    return exceptions.reduce(
      (otherwise, exception) =>
        this.test(BPF.jumpEqual, exception.from, this.verdict(exception.verdict), otherwise),
      this.verdict(verdict),
    );
  }

  private verdict(verdict: Verdict): Label {
    if ('resume' in verdict) {
      return this.residue(verdict.resume)
        .reverse()
        .reduce((_, instruction) => this.push(instruction), 0);
    }
    const known = this.returns.get(verdict.action);
    if (known !== undefined && this.distance(known) < REACH) return known;
    const label = this.push(returns(verdict.action));
    this.returns.set(verdict.action, label);
    return label;
  }

  private test(code: number, k: number, then: Label, otherwise: Label): Label {
    const [ifNot, ifSo] = [this.near(otherwise), this.near(then)];
    return this.push({ code, jt: this.distance(ifSo), jf: this.distance(ifNot), k });
  }

  /** The label itself, or one from which a long jump leads there. */
  private near(label: Label): Label {
    if (this.distance(label) < REACH) return label;
    return this.push({ code: BPF.jump, jt: 0, jf: 0, k: this.distance(label) });
  }

  /** How many instructions lie between what is written next and the label. */
  private distance(label: Label): number {
    return this.reversed.length - label;
  }

  private push(instruction: Instruction): Label {
    return this.reversed.push(instruction);
  }
}
