import type { Context } from './context.ts';
import { errorLines } from './error-lines.ts';

/**
 * Does `action` for all operands at the same time and tells the results in order, as {@link forEach}.
 * @param action returns what is printed
 */
export async function forAll(
  context: Context,
  operands: readonly string[],
  action: (operand: string) => Promise<string>,
): Promise<number> {
  const results = operands.map((operand) => action(operand));
  // Each is awaited below; a rejection meanwhile is not an unhandled one.
  for (const result of results) result.catch(() => {});
  let turn = 0;
  return forEach(context, operands, async () => {
    const line = await results[turn++];
    context.stdout.write(`${line}\n`);
  });
}

/**
 * Does `action` for every operand, in order; one that fails is reported and does not keep the others from their turn.
 * @returns the command's exit code: 1 where any failed
 */
export async function forEach(
  context: Context,
  operands: readonly string[],
  action: (operand: string) => Promise<void>,
): Promise<number> {
  let code = 0;
  for (const operand of operands) {
    try {
      await action(operand);
    } catch (error) {
      context.stderr.write(`${errorLines(error, context).join('\n')}\n`);
      code = 1;
    }
  }
  return code;
}
