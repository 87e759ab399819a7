/**
 * The checks of `docker build --check`, in BuildKit's words: scripts filter by the names, and the addresses explain them.
 * https://docs.docker.com/reference/build-checks/
 */
export interface LintRule<Args extends readonly string[]> {
  readonly description: string;
  readonly url?: string;
  readonly message: (...args: Args) => string;
  /** Off unless asked for: `# check=experimental=…`. */
  readonly experimental?: boolean;
}

const url = (name: string): string => `https://docs.docker.com/go/dockerfile/rule/${name}/`;
const quoted = (text: string): string => JSON.stringify(text);
const meant = (name: string, sign = ''): string => (name === '' ? '' : ` (did you mean ${sign}${name}?)`);

export const LINT_RULES = {
  StageNameCasing: {
    description: 'Stage names should be lowercase',
    url: url('stage-name-casing'),
    message: (stage: string) => `Stage name '${stage}' should be lowercase`,
  },
  FromAsCasing: {
    description: "The 'as' keyword should match the case of the 'from' keyword",
    url: url('from-as-casing'),
    message: (from: string, as: string) => `'${as}' and '${from}' keywords' casing do not match`,
  },
  NoEmptyContinuation: {
    description: 'Empty continuation lines will become errors in a future release',
    url: url('no-empty-continuation'),
    message: () => 'Empty continuation line',
  },
  ConsistentInstructionCasing: {
    description: 'All commands within the Dockerfile should use the same casing (either upper or lower)',
    url: url('consistent-instruction-casing'),
    message: (command: string, casing: string) =>
      `Command '${command}' should match the case of the command majority (${casing})`,
  },
  DuplicateStageName: {
    description: 'Stage names should be unique',
    url: url('duplicate-stage-name'),
    message: (stage: string) => `Duplicate stage name ${quoted(stage)}, stage names should be unique`,
  },
  ReservedStageName: {
    description: 'Reserved words should not be used as stage names',
    url: url('reserved-stage-name'),
    message: (stage: string) => `Stage name should not use the same name as reserved stage ${quoted(stage)}`,
  },
  JSONArgsRecommended: {
    description:
      'JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended behavior related to OS signals',
    url: url('json-args-recommended'),
    message: (name: string) =>
      `JSON arguments recommended for ${name} to prevent unintended behavior related to OS signals`,
  },
  MaintainerDeprecated: {
    description: 'The MAINTAINER instruction is deprecated, use a label instead to define an image author',
    url: url('maintainer-deprecated'),
    message: () => 'Maintainer instruction is deprecated in favor of using label',
  },
  UndefinedArgInFrom: {
    description: 'FROM command must use declared ARGs',
    url: url('undefined-arg-in-from'),
    message: (name: string, near: string) => `FROM argument '${name}' is not declared${meant(near)}`,
  },
  WorkdirRelativePath: {
    description:
      'Relative workdir without an absolute workdir declared within the build can have unexpected results if the base image changes',
    url: url('workdir-relative-path'),
    message: (path: string) =>
      `Relative workdir ${quoted(path)} can have unexpected results if the base image changes`,
  },
  UndefinedVar: {
    description: 'Variables should be defined before their use',
    url: url('undefined-var'),
    message: (name: string, near: string) => `Usage of undefined variable '$${name}'${meant(near, '$')}`,
  },
  MultipleInstructionsDisallowed: {
    description: 'Multiple instructions of the same type should not be used in the same stage',
    url: url('multiple-instructions-disallowed'),
    message: (name: string) =>
      `Multiple ${name} instructions should not be used in the same stage because only the last one will be used`,
  },
  LegacyKeyValueFormat: {
    description: 'Legacy key/value format with whitespace separator should not be used',
    url: url('legacy-key-value-format'),
    message: (name: string) =>
      `"${name} key=value" should be used instead of legacy "${name} key value" format`,
  },
  InvalidBaseImagePlatform: {
    description: 'Base image platform does not match expected target platform',
    message: (image: string, expected: string, actual: string) =>
      `Base image ${image} was pulled with platform ${quoted(actual)}, expected ${quoted(expected)} for current build`,
  },
  RedundantTargetPlatform: {
    description:
      'Setting platform to predefined $TARGETPLATFORM in FROM is redundant as this is the default behavior',
    url: url('redundant-target-platform'),
    message: (platform: string) =>
      `Setting platform to predefined ${platform} in FROM is redundant as this is the default behavior`,
  },
  SecretsUsedInArgOrEnv: {
    description: 'Sensitive data should not be used in the ARG or ENV commands',
    url: url('secrets-used-in-arg-or-env'),
    message: (name: string, key: string) =>
      `Do not use ARG or ENV instructions for sensitive data (${name} ${quoted(key)})`,
  },
  InvalidDefaultArgInFrom: {
    description: 'Default value for global ARG results in an empty or invalid base image name',
    url: url('invalid-default-arg-in-from'),
    message: (base: string) => `Default value for ARG ${base} results in empty or invalid base image name`,
  },
  FromPlatformFlagConstDisallowed: {
    description: 'FROM --platform flag should not use a constant value',
    url: url('from-platform-flag-const-disallowed'),
    message: (platform: string) => `FROM --platform flag should not use constant value ${quoted(platform)}`,
  },
  CopyIgnoredFile: {
    description: 'Attempting to Copy file that is excluded by .dockerignore',
    url: url('copy-ignored-file'),
    message: (command: string, file: string) =>
      `Attempting to ${command} file ${quoted(file)} that is excluded by .dockerignore`,
  },
  InvalidDefinitionDescription: {
    description:
      'Comment for build stage or argument should follow the format: `# <arg/stage name> <description>`. If this is not intended to be a description comment, add an empty line or comment between the instruction and the comment.',
    url: url('invalid-definition-description'),
    message: (name: string, defined: string) =>
      `Comment for ${name} should follow the format: \`# ${defined} <description>\``,
    experimental: true,
  },
  ExposeProtoCasing: {
    description: 'Protocol in EXPOSE instruction should be lowercase',
    url: url('expose-proto-casing'),
    message: (port: string) => `Defined protocol '${port}' in EXPOSE instruction should be lowercase`,
  },
  ExposeInvalidFormat: {
    description:
      'IP address and host-port mapping should not be used in EXPOSE instruction. This will become an error in a future release',
    url: url('expose-invalid-format'),
    message: (port: string) =>
      `EXPOSE instruction should not define an IP address or host-port mapping, found '${port}'`,
  },
} as const satisfies Readonly<Record<string, LintRule<never>>>;

export type LintRuleName = keyof typeof LINT_RULES;
