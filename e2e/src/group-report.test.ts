import { describe, expect, it } from '@jest/globals';
import { suiteResults, suiteTable, type JestReport } from './group-report.js';

type Told = JestReport['testResults'][number];

const suite = (name: string, change: Partial<Told> = {}): Told => ({
  name: `/somewhere/${name}.kernel.test.ts`,
  status: 'passed',
  startTime: 0,
  endTime: 1_230,
  message: '',
  assertionResults: [{ status: 'passed', fullName: 'a test' }],
  ...change,
});

describe('what jest tells', () => {
  it('is added up by suite, in order', () => {
    const results = suiteResults({ testResults: [suite('b'), suite('a')] });
    expect(results).toMatchObject([
      { suite: 'a', passed: 1, failed: 0, seconds: 1.2 },
      { suite: 'b', passed: 1, failed: 0 },
    ]);
    expect(suiteTable(results)).toMatch(/2 passed, 0 failed$/);
  });

  it('names what failed, and counts what was not run', () => {
    const assertionResults = [
      { status: 'failed', fullName: 'one' },
      { status: 'pending', fullName: 'two' },
    ];
    const results = suiteResults({ testResults: [suite('a', { status: 'failed', assertionResults })] });
    expect(results).toMatchObject([{ passed: 0, failed: 2, failures: ['one', 'two'] }]);
    expect(suiteTable(results)).toMatch(/failed: a: one\nfailed: a: two\n0 passed, 2 failed$/);
  });

  it('counts a file that does not load', () => {
    const broken = suite('a', {
      status: 'failed',
      message: '\n  it does not load\nat',
      assertionResults: [],
    });
    expect(suiteResults({ testResults: [broken] })).toMatchObject([
      { failed: 1, failures: ['it does not load'] },
    ]);
  });
});
