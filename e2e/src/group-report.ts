/** Pure: from what jest tells of its suites to a table for people and to JSON. */

/** Of jest's `--json`, what is used. */
export interface JestReport {
  testResults: Array<{
    /** path of the file */
    name: string;
    status: 'passed' | 'failed';
    startTime: number;
    endTime: number;
    /** what went wrong outside of tests: a file that does not load */
    message: string;
    assertionResults: Array<{ status: string; fullName: string }>;
  }>;
}

export interface SuiteResult {
  suite: string;
  passed: number;
  failed: number;
  seconds: number;
  /** names of the tests that failed */
  failures: string[];
}

/** What was not run counts as failed: nothing is skipped here. */
export function suiteResults({ testResults }: JestReport): SuiteResult[] {
  return testResults
    .map(({ name, status, startTime, endTime, message, assertionResults }) => {
      const failures = assertionResults
        .filter((one) => one.status !== 'passed')
        .map(({ fullName }) => fullName);
      if (status === 'failed' && failures.length === 0) failures.push(firstLine(message));
      return {
        suite: name.split('/').at(-1)?.replace('.kernel.test.ts', '') ?? name,
        passed: assertionResults.length - assertionResults.filter((one) => one.status !== 'passed').length,
        failed: failures.length,
        seconds: Math.round((endTime - startTime) / 100) / 10,
        failures,
      };
    })
    .sort((a, b) => (a.suite < b.suite ? -1 : 1));
}

export function suiteTable(results: readonly SuiteResult[]): string {
  const rows = results.map(({ suite, passed, failed, seconds }) => [
    suite,
    ...[passed, failed, seconds].map(String),
  ]);
  const all = [['suite', 'passed', 'failed', 'seconds'], ...rows];
  const widths = [0, 1, 2, 3].map((i) => Math.max(...all.map((row) => (row[i] ?? '').length)));
  const lines = all.map((row) =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0))).join('  '),
  );
  const failures = results.flatMap(({ suite, failures: names }) =>
    names.map((name) => `failed: ${suite}: ${name}`),
  );
  return [...lines, ...failures, totals(results)].join('\n');
}

function totals(results: readonly SuiteResult[]): string {
  const sum = (key: 'passed' | 'failed'): number => results.reduce((total, result) => total + result[key], 0);
  return `${sum('passed')} passed, ${sum('failed')} failed`;
}

function firstLine(text: string): string {
  return (
    text
      .split('\n')
      .find((line) => line.trim() !== '')
      ?.trim() ?? 'it did not run'
  );
}
