/** The user's terminal, for front ends: they do not reach below the engine. */
export { leaveOutputAlone } from '../native/terminal.ts';
