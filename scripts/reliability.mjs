/**
 * Writes what the fault suites have found (out/faults/*.json) into the table of docs/reliability.md. Faults that were not
 * tried in the last runs keep their row.
 *
 * usage: npx jest --selectProjects kernel --runInBand suites/faults, then node scripts/reliability.mjs
 */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const root = new URL('..', import.meta.url).pathname;
const page = join(root, 'docs/reliability.md');
const results = join(root, 'out/faults');
const [begin, end] = ['<!-- faults: begin -->', '<!-- faults: end -->'];

const text = readFileSync(page, 'utf8');
const [before, rest] = text.split(begin);
const [table, after] = rest.split(end);

const rows = new Map(
  table
    .split('\n')
    .filter((line) => line.startsWith('| ') && !line.startsWith('| fault') && !line.startsWith('| ---'))
    .map((line) => [line.split('|')[1].trim(), line]),
);
const files = existsSync(results) ? readdirSync(results).sort() : [];
for (const file of files)
  for (const { fault, outcome, connections, longestHoldMs } of JSON.parse(readFileSync(join(results, file))))
    rows.set(
      fault,
      `| ${fault} | ${outcome} | all ${connections} | ${(longestHoldMs / 1000).toFixed(1)} s |`,
    );

const head = ['| fault | what came of it | connections kept | longest hold |', '| --- | --- | --- | --- |'];
writeFileSync(page, [before + begin, '', ...head, ...rows.values(), '', end + after].join('\n'));
