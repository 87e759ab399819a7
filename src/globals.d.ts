/** The package's version, put in by the bundler (scripts/build.mjs); undefined where the sources run unbundled, as in tests. */
declare const TINYRUN_VERSION: string | undefined;
