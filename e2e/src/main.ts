/**
 * `npm run e2e -- GROUP`: the suites of one group, for who works on that. CI runs all suites by scripts/test.mjs, and none by
 * this.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Argument, Command, CommanderError } from 'commander';
import { ServalError } from '@serval/api';
import { suiteResults, suiteTable, type JestReport } from './group-report.js';

const root = new URL('../../', import.meta.url).pathname;
/** By the paths of their files. */
const groups = { api: 'e2e/src/cluster/' } as const;
type Group = keyof typeof groups;

const help = `
Groups:
  api  what holds on a real etcd, API server and controller manager: control plane, store, election, Events, operator, services,
       chart, kubectl and its plugin, agents, hostile objects, outages

Needs root. Exit codes: 0 all passed, 1 something failed or could not run, 2 wrong usage.`;

interface Options {
  only?: string;
  json?: string;
}

function run(group: Group, { only = '', json }: Options): void {
  const folder = mkdtempSync(join(tmpdir(), 'serval-e2e-'));
  try {
    const results = suiteResults(jest(`${groups[group]}[^/]*${only}[^/]*\\.kernel\\.test\\.ts$`, folder));
    console.log(suiteTable(results));
    if (json !== undefined)
      writeFileSync(json, `${JSON.stringify({ group, suites: results }, undefined, 2)}\n`);
    process.exitCode = results.some(({ failed }) => failed > 0) ? 1 : 0;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** One suite after the other: they measure times, and the machine is one. @throws ServalError where nothing was run */
function jest(pattern: string, folder: string): JestReport {
  const file = join(folder, 'jest.json');
  const project = ['--selectProjects', 'kernel', '--runInBand', '--json', `--outputFile=${file}`];
  spawnSync(join(root, 'node_modules/.bin/jest'), ['--testPathPatterns', pattern, ...project], {
    cwd: root,
    stdio: ['ignore', 'ignore', 'inherit'],
    env: {
      SERVAL_HOSTILE_COUNT: '10000',
      SERVAL_OUTAGE_SECONDS: '60',
      ...process.env,
      NODE_OPTIONS: '--experimental-vm-modules --no-warnings',
    },
  });
  try {
    const report = JSON.parse(readFileSync(file, 'utf8')) as JestReport;
    if (report.testResults.length === 0) throw new Error('no file has this in its name');
    return report;
  } catch (cause) {
    throw new ServalError('ERR_NOT_FOUND', {
      subject: `suites like ${pattern}`,
      reason: 'jest ran none',
      remedy: 'See what it says; --only takes a part of the name of a file in e2e/src/cluster',
      cause,
    });
  }
}

function main(words: readonly string[]): void {
  const program = new Command('npm run e2e --')
    .description('Runs the suites of one group, and says how each went.')
    .addArgument(new Argument('<group>', 'which').choices(Object.keys(groups)))
    .option('--only <name>', 'only suites whose file has this in its name')
    .option('--json <file>', 'write how they went there as JSON')
    .exitOverride()
    .addHelpText('after', help)
    .action((group: Group, options: Options) => run(group, options));
  try {
    program.parse([...words], { from: 'user' });
  } catch (error) {
    // Commander has said what is wrong, or has printed the help that was asked for.
    if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2;
    else {
      console.error(`e2e: ${(error as Error).message}`);
      process.exitCode = 1;
    }
  }
}

main(process.argv.slice(2));
