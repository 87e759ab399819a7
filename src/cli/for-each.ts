import { describe } from '../errors.ts';
import type { Context } from './context.ts';

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
      const hint =
        error instanceof Error && 'hint' in error && error.hint !== undefined ? `\n${error.hint}` : '';
      context.stderr.write(`tinyrun: ${describe(error)}${hint}\n`);
      code = 1;
    }
  }
  return code;
}
