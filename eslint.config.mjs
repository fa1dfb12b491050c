import js from '@eslint/js';
import tseslint from 'typescript-eslint';

/* Imports point one way: api, kube-runtime, then operator, node-agent, cli, then e2e, then bench. */
const mayImport = {
  api: [],
  'kube-runtime': ['api'],
  operator: ['api', 'kube-runtime'],
  'node-agent': ['api', 'kube-runtime'],
  cli: ['api', 'kube-runtime'],
  e2e: ['api', 'kube-runtime', 'operator', 'node-agent', 'cli'],
  bench: ['api', 'kube-runtime', 'node-agent', 'e2e'],
};

const importRules = Object.entries(mayImport).map(([room, allowed]) => ({
  files: [`${room}/**/*.ts`],
  rules: {
    'no-restricted-imports': [
      'error',
      {
        patterns: [
          {
            group: ['@serval/*', ...allowed.map((name) => `!@serval/${name}`)],
            message: `${room} may import ${allowed.length === 0 ? 'nothing of ours' : allowed.join(', ')} (see ARCHITECTURE.md).`,
          },
          {
            regex: '^(\\.\\./)+(api|kube-runtime|operator|node-agent|cli|e2e|bench)/',
            message: 'Import a room by its package name.',
          },
        ],
      },
    ],
  },
}));

/* Inside the node agent: what is pure stays pure. */
const pureRooms = [
  {
    files: ['node-agent/src/protocol/**/*.ts', 'node-agent/src/services/**/*.ts'],
    rules: {
      'no-restricted-imports': [
        'error',
        {
          patterns: [
            {
              group: ['node:*', '**/native.js', '**/host/**', '**/datapath/**', '!**/datapath/types.js'],
              message: 'Pure code does no I/O.',
            },
          ],
        },
      ],
    },
  },
];

export default tseslint.config(
  {
    ignores: [
      '**/dist/**',
      '**/dist-bundle/**',
      '**/build/**',
      '**/node_modules/**',
      'out/**',
      '**/*.generated.ts',
    ],
  },
  js.configs.recommended,
  ...tseslint.configs.recommendedTypeChecked.map((config) => ({ ...config, files: ['**/*.ts'] })),
  {
    files: ['**/*.ts'],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      complexity: ['error', 12],
      'max-lines-per-function': ['error', { max: 60, skipBlankLines: true, skipComments: true }],
      'max-lines': ['error', { max: 400, skipBlankLines: true, skipComments: true }],
      'max-depth': ['error', 3],
      'max-params': ['error', 6],
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/restrict-template-expressions': [
        'error',
        { allowNumber: true, allowBoolean: true },
      ],
    },
  },
  {
    files: ['**/*.test.ts', '**/contract.ts'],
    rules: { 'max-lines-per-function': 'off' },
  },
  {
    files: ['**/*.mjs'],
    languageOptions: {
      globals: {
        process: 'readonly',
        console: 'readonly',
        URL: 'readonly',
        Buffer: 'readonly',
        performance: 'readonly',
      },
    },
  },
  ...importRules,
  ...pureRooms,
);
