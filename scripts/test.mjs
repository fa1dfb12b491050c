/**
 * Run every suite, one after the other, and add them up: the last line is `N passed, N failed`. A suite that can't run
 * here fails; none is skipped. The same numbers, and what each failed test said, go to out/test-results.json.
 *
 * usage: test.mjs [--only static,unit,kernel] [-- jest arguments]
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { parseArgs, stripVTControlCharacters } from 'node:util';

const root = new URL('..', import.meta.url).pathname;
const out = join(root, 'out');
const bin = (name) => join(root, 'node_modules/.bin', name);

const { values, positionals } = parseArgs({
  options: { only: { type: 'string' }, help: { type: 'boolean' } },
  allowPositionals: true,
});
if (values.help) {
  console.log('usage: npm test -- [--only static,unit,kernel] [-- JEST ARGUMENTS]');
  process.exit(0);
}

const statics = [
  ['lint', bin('eslint'), ['.']],
  ['format', bin('prettier'), ['--check', '--log-level', 'warn', '.']],
  [
    'generated codec is current',
    process.execPath,
    [
      'node-agent/scripts/generate-abi.mjs',
      '--check',
      'node-agent/build/sal_pod.bpf.o',
      'node-agent/build/sal_connect.bpf.o',
      'node-agent/src/datapath/abi.generated.ts',
    ],
  ],
  ['types of the CRDs are current', process.execPath, ['scripts/generate-crd-types.mjs', '--check']],
];

const results = [];

function heading(name) {
  console.log(`\n=== ${name}`);
}

function runStatic([name, command, args]) {
  heading(name);
  const { status } = spawnSync(command, args, { cwd: root, stdio: 'inherit' });
  results.push({ suite: name, passed: status === 0 ? 1 : 0, failed: status === 0 ? 0 : 1 });
}

/**
 * Kernel tests hold what they start to deadlines in real time, and have both processors: one file at a time. With two at a time they
 * took 23 min instead of 30, and now and then one missed a deadline: a hold of 8 s took 8.2.
 */
function runJest(project) {
  heading(`jest: ${project}`);
  const file = join(out, `jest-${project}.json`);
  rmSync(file, { force: true });
  const args = [
    '--selectProjects',
    project,
    '--json',
    `--outputFile=${file}`,
    '--silent=false',
    ...positionals,
  ];
  if (project === 'kernel') args.push('--runInBand');
  const { status } = spawnSync(bin('jest'), args, {
    cwd: root,
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, NODE_OPTIONS: '--experimental-vm-modules --no-warnings' },
  });
  if (!existsSync(file)) return results.push({ suite: `jest ${project}`, passed: 0, failed: 1 });
  const report = JSON.parse(readFileSync(file, 'utf8'));
  // A file that doesn't even load has no tests to count, and must count all the same.
  const failed = report.numFailedTests + report.numRuntimeErrorTestSuites + report.numPendingTests;
  results.push({
    suite: `jest ${project}`,
    passed: report.numPassedTests,
    failed: failed || (status === 0 ? 0 : 1),
    failures: failuresOf(report),
  });
}

/** Each failed test with the first lines of what it said, and each file that did not even load. */
function failuresOf({ testResults }) {
  return testResults.flatMap(({ name, status, message, assertionResults }) => {
    const tests = assertionResults.filter((one) => one.status === 'failed');
    const failure = (test, words) => ({
      file: relative(root, name),
      test,
      words: stripVTControlCharacters(words).split('\n').slice(0, 30).join('\n'),
    });
    if (tests.length === 0) return status === 'failed' ? [failure('', message)] : [];
    return tests.map(({ fullName, failureMessages }) => failure(fullName, failureMessages.join('\n')));
  });
}

mkdirSync(out, { recursive: true });
const only = values.only?.split(',') ?? ['static', 'unit', 'kernel'];
const start = performance.now();
if (only.includes('static')) statics.forEach(runStatic);
for (const project of ['unit', 'kernel']) if (only.includes(project)) runJest(project);

heading(`after ${Math.round((performance.now() - start) / 1000)} s`);
for (const { suite, passed, failed } of results) console.log(`${suite}: ${passed} passed, ${failed} failed`);
const sum = (key) => results.reduce((total, result) => total + result[key], 0);
writeFileSync(
  join(out, 'test-results.json'),
  `${JSON.stringify({ passed: sum('passed'), failed: sum('failed'), suites: results }, null, 2)}\n`,
);
console.log(`${sum('passed')} passed, ${sum('failed')} failed`);
process.exitCode = sum('failed') === 0 ? 0 : 1;
