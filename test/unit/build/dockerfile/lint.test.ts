// biome-ignore-all lint/suspicious/noTemplateCurlyInString: they are what is tested
import { describe, expect, it } from 'vitest';
import { type LintInput, lint, lintError } from '../../../../src/build/dockerfile/lint.ts';
import { parseDockerfile } from '../../../../src/build/dockerfile/parse.ts';
import { platformArgs, stages } from '../../../../src/build/dockerfile/stages.ts';
import { parseIgnore } from '../../../../src/build/ignore.ts';
import { parseReference } from '../../../../src/registry/reference.ts';

const linux = { os: 'linux', architecture: 'amd64' };

function isReference(text: string): boolean {
  try {
    parseReference(text);
    return true;
  } catch {
    return false;
  }
}

function findings(
  text: string,
  input: Partial<LintInput> & { buildArgs?: Record<string, string> } = {},
): string[] {
  const dockerfile = parseDockerfile(text, 'Dockerfile');
  const args = { buildArgs: input.buildArgs ?? {}, platformArgs: platformArgs(linux, linux, undefined) };
  const warnings = lint(dockerfile, {
    stages: stages(dockerfile, args),
    args,
    everyStage: true,
    image: () => ({ env: ['PATH=/bin', 'HOME=/root'], hasShell: false }),
    isReference,
    ...input,
  });
  return warnings.map(({ rule, location }) => `${rule} ${location?.startLine}`);
}

describe('lint()', () => {
  it('finds nothing in a good file', () => {
    const text = `# check=error=true
ARG version=3
FROM --platform=$BUILDPLATFORM alpine:$version AS build
ARG TARGETARCH
WORKDIR /src
COPY . .
ENV out=/out/$TARGETARCH PATH=$PATH:/x
RUN make
FROM alpine:$version
COPY --from=build /out /out
EXPOSE 80/tcp
CMD ["/out/app"]
`;
    expect(findings(text)).toEqual([]);
  });

  it.each([
    ['FROM a AS Big', ['StageNameCasing 1']],
    ['FROM a as b', ['FromAsCasing 1']],
    ['FROM a\nRUN a \\\n\n b', ['NoEmptyContinuation 4']],
    ['FROM a\nRun b', ['ConsistentInstructionCasing 2']],
    ['from a\ncopy a b\nUSER c', ['ConsistentInstructionCasing 3']],
    ['FROM a AS x\nFROM b AS x', ['DuplicateStageName 2']],
    ['FROM a AS scratch', ['ReservedStageName 1']],
    ['FROM a\nCMD x', ['JSONArgsRecommended 2']],
    ['FROM a\nSHELL ["x"]\nENTRYPOINT x', []],
    ['FROM a\nMAINTAINER me', ['MaintainerDeprecated 2']],
    ['ARG tag=1\nFROM a:${tga:-1}', ['UndefinedArgInFrom 2']],
    ['FROM a\nCOPY $missing b', ['UndefinedVar 2']],
    ['FROM a\nARG declared\nCOPY x$declared b', []],
    ['FROM a\nENV x=1\nCOPY $x b', []],
    ['FROM a AS b\nARG x\nFROM b\nCOPY y$x z', []],
    ['FROM a\nRUN --mount=type=cache,target=$missing x', ['UndefinedVar 2']],
    ['FROM a\nCOPY <<E /x\n$missing\nE', ['UndefinedVar 2']],
    ["FROM a\nCOPY <<'E' /x\n$missing\nE", []],
    ['FROM a\nWORKDIR x\nWORKDIR y', ['WorkdirRelativePath 2']],
    ['FROM a\nCMD ["x"]\nCMD ["y"]', ['MultipleInstructionsDisallowed 2']],
    ['FROM a\nENV a b', ['LegacyKeyValueFormat 2']],
    ['FROM --platform=$TARGETPLATFORM a', ['RedundantTargetPlatform 1']],
    ['FROM --platform=linux/arm64 a', ['FromPlatformFlagConstDisallowed 1']],
    ['FROM --platform=linux/arm64 a AS build_arm64', []],
    ['FROM a\nARG API_KEY\nENV token=x', ['SecretsUsedInArgOrEnv 2', 'SecretsUsedInArgOrEnv 3']],
    ['FROM a\nENV PUBLIC_KEY=x SECRET_FILE=y', []],
    ['FROM a\nEXPOSE 80/TCP', ['ExposeProtoCasing 2']],
    ['FROM a\nEXPOSE 127.0.0.1:80:80', ['ExposeInvalidFormat 2']],
    ['# check=skip=all\nFROM a AS Big', []],
    ['# check=skip=FromAsCasing, JSONArgsRecommended\nFROM a as Big\nCMD x', ['StageNameCasing 2']],
    ['FROM a\n# check=skip=JSONArgsRecommended\nCMD x\nENTRYPOINT y', ['JSONArgsRecommended 4']],
    ['# check=experimental=all\n# what\nARG a\nFROM b', ['InvalidDefinitionDescription 3']],
    ['# check=experimental=all\n# a what\nARG a\nFROM b', []],
  ])('finds in %j %j', (text, expected) => {
    expect(findings(text)).toEqual(expected);
  });

  it('checks the base of the defaults, not of what was given', () => {
    expect(findings('ARG name\nFROM alpine:$name', { buildArgs: { name: '3' } })).toEqual([
      'InvalidDefaultArgInFrom 2',
    ]);
  });

  it('says nothing of variables where the image is not known', () => {
    expect(findings('FROM a\nCOPY $missing b', { image: () => undefined })).toEqual([]);
  });

  it('takes the configuration of a build argument before that of the file', () => {
    const text = '# check=skip=all\nFROM a AS Big';
    const buildArgs = { BUILDKIT_DOCKERFILE_CHECK: 'error=true' };
    const dockerfile = parseDockerfile(text, 'Dockerfile');
    const args = { buildArgs, platformArgs: {} };
    const input = { stages: stages(dockerfile, args), args, everyStage: true, isReference };
    const warnings = lint(dockerfile, input);
    expect(warnings.map(({ rule }) => rule)).toEqual(['StageNameCasing']);
    expect(lintError(dockerfile, warnings, buildArgs)).toBeDefined();
  });

  it('checks only the stages that are built, unless all are asked for', () => {
    const text = 'FROM a AS x\nCMD x\nFROM b\nCMD y';
    expect(findings(text, { everyStage: false })).toEqual(['JSONArgsRecommended 4']);
    expect(findings(text)).toHaveLength(2);
  });

  it('knows what .dockerignore hides from COPY and ADD', () => {
    const ignore = parseIgnore('secret\n*.log\n');
    const text = 'FROM a\nCOPY secret/x a.txt /\nADD b.log /\nADD https://x/b.log /\nCOPY --from=y secret /';
    expect(findings(text, { ignore })).toEqual(['CopyIgnoredFile 2', 'CopyIgnoredFile 3']);
    expect(findings('FROM a\nCOPY . /', { ignore: parseIgnore('**') })).toEqual(['CopyIgnoredFile 2']);
    expect(findings('FROM a\nCOPY . /', { ignore: parseIgnore('**\n!x') })).toEqual([]);
  });

  it('suggests what was meant', () => {
    const dockerfile = parseDockerfile('FROM a\nENV PATH=$PAHT', 'Dockerfile');
    const args = { buildArgs: {}, platformArgs: {} };
    const [warning] = lint(dockerfile, {
      stages: stages(dockerfile, args),
      args,
      everyStage: true,
      image: () => ({ env: [], hasShell: false }),
      isReference,
    });
    expect(warning?.message).toBe("Usage of undefined variable '$PAHT' (did you mean $PATH?)");
  });
});

describe('lintError()', () => {
  it('is there with error=true only, and names each rule once', () => {
    const strict = parseDockerfile('# check=error=true\nFROM a', 'Dockerfile');
    const warning = { rule: 'A', message: '', description: '' };
    expect(lintError(strict, [warning, warning, { ...warning, rule: 'B' }])?.message).toBe(
      'lint violation found for rules: A, B',
    );
    expect(lintError(strict, [])).toBeUndefined();
    expect(lintError(parseDockerfile('FROM a', 'Dockerfile'), [warning])).toBeUndefined();
  });
});
