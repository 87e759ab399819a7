/** Names of images, for front ends: they do not reach below the engine. */
export {
  canonicalName,
  canonicalRepository,
  familiarName,
  parseReference,
  type Reference,
  withDefaultTag,
} from '../registry/reference.ts';
