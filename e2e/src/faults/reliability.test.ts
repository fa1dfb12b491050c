import { expect, it } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { allFaults } from './catalogue.js';

const page = readFileSync(new URL('../../../docs/reliability.md', import.meta.url), 'utf8');

/** First two columns: times are not compared. */
const rows = page
  .split('\n')
  .filter((line) => line.startsWith('| '))
  .map((line) => line.split('|').map((cell) => cell.trim()))
  .filter(([, fault]) => fault !== 'fault' && !/^-+$/.test(fault ?? ''));

it('lists the faults that the suites try, in docs/reliability.md, and no others', () => {
  const tried = allFaults.map(({ name }) => name);
  expect(rows.map(([, fault]) => fault).sort()).toEqual([...tried].sort());
});

it('has come to what must come of each', () => {
  for (const { name, outcome } of allFaults) {
    const found = rows.find(([, fault]) => fault === name)?.[2];
    expect(['completed', 'rolled back']).toContain(found);
    if (outcome !== 'either') expect([name, found]).toEqual([name, outcome]);
  }
});
