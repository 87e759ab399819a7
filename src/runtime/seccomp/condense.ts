import { BPF, holds, type Instruction, load, OFFSET_ARCH, OFFSET_NUMBER, OFFSET_REST } from './bpf.ts';
import { type Range, same, searchOf, type Verdict } from './search.ts';

/** A decision of our own that goes before the filter's, for one architecture; undefined leaves it to the filter. */
export type Override = (architecture: number, number: number) => { readonly action: number } | undefined;

/**
 * The same filter as a binary search over ranges of system call numbers. Loading a filter costs by its length (the kernel
 * compiles it, and runs it for every number to fill its bitmap): libseccomp's list of 1000 instructions takes 1 ms, its
 * tree 0.4, this 0.1.
 *
 * Nothing is known here of what the filter means: the program is run for every architecture and every number that it
 * compares with, up to the point where it ends or reads an argument. Between two such numbers it cannot tell them apart.
 * @param boundaries further numbers at which `override` changes its mind
 * @returns undefined for a program with instructions other than libseccomp's: it has to be used as it is
 */
export function condense(
  program: readonly Instruction[],
  override: Override = () => undefined,
  boundaries: readonly number[] = [],
): Instruction[] | undefined {
  if (program.some((instruction) => !KNOWN.has(instruction.code))) return undefined;
  const edges = edgesOf(program, boundaries);
  const fallback = rangesOf(program, unusedArchitecture(program), edges, override);
  if (fallback === undefined) return undefined;
  const sections: Instruction[][] = [];
  for (const architecture of architecturesOf(program)) {
    const ranges = rangesOf(program, architecture, edges, override);
    if (ranges === undefined) return undefined;
    const section = sectionOf(program, ranges);
    // Skipping a section by a long jump: a conditional one reaches 255 instructions.
    sections.push([
      { code: BPF.jumpEqual, jt: 1, jf: 0, k: architecture },
      { code: BPF.jump, jt: 0, jf: 0, k: section.length },
      ...section,
    ]);
  }
  return [load(OFFSET_ARCH), ...sections.flat(), ...sectionOf(program, fallback)];
}

const KNOWN: ReadonlySet<number> = new Set(Object.values(BPF));

/** Every number at which a comparison of the program can come out differently than for the number before. */
function edgesOf(program: readonly Instruction[], boundaries: readonly number[]): number[] {
  const edges = new Set<number>([0, ...boundaries]);
  for (const { code, k } of program) {
    if (code === BPF.return || code === BPF.jump || code === BPF.loadAbsolute) continue;
    edges.add(k);
    if (k < 0xffffffff) edges.add(k + 1);
  }
  return [...edges].sort((a, b) => a - b);
}

/** The values that the architecture is compared with, in the program's order. Jumps only lead forward: one pass tells. */
function architecturesOf(program: readonly Instruction[]): number[] {
  const found = new Set<number>();
  const mayHoldArchitecture = new Set<number>();
  for (const [index, instruction] of program.entries()) {
    const { code, k } = instruction;
    const holding = code === BPF.loadAbsolute ? k === OFFSET_ARCH : mayHoldArchitecture.has(index);
    if (!holding) continue;
    if (holds(instruction, 0) !== undefined) found.add(k);
    for (const target of targetsOf(instruction, index)) mayHoldArchitecture.add(target);
  }
  return [...found];
}

function unusedArchitecture(program: readonly Instruction[]): number {
  const used = new Set(program.map((instruction) => instruction.k));
  for (let candidate = 0xfffffff1; ; candidate -= 1) if (!used.has(candidate)) return candidate;
}

function rangesOf(
  program: readonly Instruction[],
  architecture: number,
  edges: readonly number[],
  override: Override,
): Range[] | undefined {
  const ranges: Range[] = [];
  for (const from of edges) {
    const verdict = override(architecture, from) ?? run(program, architecture, from);
    if (verdict === undefined) return undefined;
    const last = ranges.at(-1);
    if (last === undefined || !same(last.verdict, verdict)) ranges.push({ from, verdict });
  }
  return ranges;
}

/** Runs the program as far as architecture and number decide. Undefined where the number is not simply compared. */
function run(program: readonly Instruction[], architecture: number, number: number): Verdict | undefined {
  let accumulator = 0;
  for (let index = 0; index < program.length; index += 1) {
    const instruction = program[index];
    if (instruction === undefined) return undefined;
    const { code, k } = instruction;
    if (code === BPF.return) return { action: k };
    if (code === BPF.loadAbsolute && k >= OFFSET_REST) return { resume: index };
    if (code === BPF.loadAbsolute) accumulator = k === OFFSET_ARCH ? architecture : number;
    else if (code === BPF.jump) index += k;
    else {
      // Neither masks nor bit tests are monotonous: ranges would not do for them.
      const taken = code === BPF.jumpSet ? undefined : holds(instruction, accumulator);
      if (taken === undefined) return undefined;
      index += taken ? instruction.jt : instruction.jf;
    }
  }
  return undefined;
}

function sectionOf(program: readonly Instruction[], ranges: readonly Range[]): Instruction[] {
  return [load(OFFSET_NUMBER), ...searchOf(ranges, (index) => residueOf(program, index))];
}

/** The part of the program that can be reached from `start`, in its order, with the jumps adjusted. */
function residueOf(program: readonly Instruction[], start: number): Instruction[] {
  const reached = new Set<number>();
  const pending = [start];
  for (let index = pending.pop(); index !== undefined; index = pending.pop()) {
    const instruction = program[index];
    if (instruction === undefined || reached.has(index)) continue;
    reached.add(index);
    pending.push(...targetsOf(instruction, index));
  }
  const order = [...reached].sort((a, b) => a - b);
  const position = new Map(order.map((index, place) => [index, place]));
  const distance = (from: number, to: number): number =>
    (position.get(to) ?? 0) - (position.get(from) ?? 0) - 1;
  return order.flatMap((index): Instruction[] => {
    const instruction = program[index];
    if (instruction === undefined) return [];
    if (instruction.code === BPF.jump)
      return [{ ...instruction, k: distance(index, index + 1 + instruction.k) }];
    if (holds(instruction, 0) === undefined) return [instruction];
    return [
      {
        ...instruction,
        jt: distance(index, index + 1 + instruction.jt),
        jf: distance(index, index + 1 + instruction.jf),
      },
    ];
  });
}

function targetsOf(instruction: Instruction, index: number): number[] {
  if (instruction.code === BPF.return) return [];
  if (instruction.code === BPF.jump) return [index + 1 + instruction.k];
  if (holds(instruction, 0) === undefined) return [index + 1];
  return [index + 1 + instruction.jt, index + 1 + instruction.jf];
}
