import { TinyrunError } from '../../errors.ts';
import type { Dockerfile, Instruction, Location } from './ast.ts';
import { BuildFileError } from './build-file-error.ts';
import { parseInstruction, unknownInstruction } from './instructions.ts';
import { readLines } from './lines.ts';
import { splitCommand } from './words.ts';

/**
 * Reads a Dockerfile. Own code: of the packages that read Dockerfiles, none knows the whole language.
 * @param fileName for messages, as the user named it
 * @throws BuildFileError at the first line that is wrong
 */
export function parseDockerfile(text: string, fileName: string): Dockerfile {
  const read = readLines(text, fileName);
  const instructions = read.logical.map((line) => {
    try {
      const instruction = parseInstruction(line, read.escape);
      if (instruction === undefined) throw unknownInstruction(splitCommand(line.text, read.escape).name);
      return instruction;
    } catch (error) {
      if (!(error instanceof TinyrunError)) throw error;
      const message = `dockerfile parse error on line ${line.location.startLine}: ${error.message}`;
      throw new BuildFileError(read, line.location, message);
    }
  });
  const { logical: _, ...rest } = read;
  return { ...rest, instructions };
}

/**
 * One ONBUILD trigger of an image's config: foreign text, parsed as a file of its own.
 * @param location of the FROM that brings it; the instruction says that it stands there
 */
export function parseTrigger(text: string, location: Location): Exclude<Instruction, { name: 'FROM' }> {
  const { instructions } = parseDockerfile(text, 'ONBUILD');
  const [only, ...more] = instructions;
  if (only === undefined || more.length > 0 || only.name === 'FROM' || only.name === 'ONBUILD')
    throw new TinyrunError('invalid', 'onbuild trigger should be a single expression');
  return { ...only, location };
}
