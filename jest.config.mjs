/*
 * Two projects: `unit` needs nothing but Node; `kernel` works on the real kernel and needs root, so it runs one
 * file at a time (see scripts/test.mjs).
 */
const base = {
  rootDir: import.meta.dirname,
  testEnvironment: 'node',
  extensionsToTreatAsEsm: ['.ts'],
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      {
        jsc: { parser: { syntax: 'typescript' }, target: 'es2024' },
        module: { type: 'es6' },
        sourceMaps: 'inline',
      },
    ],
  },
  moduleNameMapper: { '^(\\.{1,2}/.*)\\.js$': '$1' },
  modulePathIgnorePatterns: [
    '<rootDir>/.*/dist/',
    '<rootDir>/.*/dist-bundle/',
    '<rootDir>/.*/build/',
    '<rootDir>/out/',
  ],
  roots: ['api', 'kube-runtime', 'operator', 'node-agent', 'cli', 'e2e', 'bench', 'scripts'].map(
    (room) => `<rootDir>/${room}`,
  ),
};

export default {
  projects: [
    {
      ...base,
      displayName: 'unit',
      testMatch: ['**/*.test.ts'],
      testPathIgnorePatterns: ['\\.kernel\\.test\\.ts$'],
    },
    { ...base, displayName: 'kernel', testMatch: ['**/*.kernel.test.ts'] },
  ],
};
