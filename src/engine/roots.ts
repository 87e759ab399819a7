/** Where a store lies unless it is told to lie elsewhere. */
export { DEFAULT_ROOTS } from '../disk/paths.ts';
