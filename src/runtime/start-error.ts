import { type ErrorDetails, TinyrunError } from '../errors.ts';

/** The container's program could not be started: 126 it is there but cannot be run, 127 it is not there. */
export class StartError extends TinyrunError {
  override readonly name = 'StartError';
  readonly exitCode: 126 | 127;

  constructor(exitCode: 126 | 127, message: string, details: ErrorDetails = {}) {
    super(exitCode === 127 ? 'not_found' : 'denied', message, details);
    this.exitCode = exitCode;
  }

  static notInPath(name: string): StartError {
    return new StartError(127, `exec: ${JSON.stringify(name)}: executable file not found in $PATH`);
  }
}
