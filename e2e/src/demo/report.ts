/** Pure: what the demo found, as a table, as JSON, and as a verdict. */
import { formatMs } from '@serval/cli';
import { renderColumns } from './columns.js';

/** The run without Serval. */
export interface BaselineResult {
  from: string;
  to: string;
  /** connections before the migration */
  connections: number;
  /** connections that answered after it */
  survived: number;
  /** connections that were closed or reset; the others just hang */
  resets: number;
  /** how long the workload stood still, ms */
  freezeMs: number;
}

/** One migration with Serval. */
export interface MigrationResult {
  from: string;
  to: string;
  connections: number;
  survived: number;
  resets: number;
  /** lost, doubled, reordered or false replies and messages */
  wrongReplies: number;
  /** how long the workload stood still, ms */
  freezeMs: number;
  /** longest time that any client connection waited for a reply, from when its request was due, ms */
  worstClientGapMs: number;
  /** from the word to switch until every peer sends to the new address, ms */
  switchMs: number;
}

/** Everything that the closing report needs. */
export interface DemoResults {
  baseline: BaselineResult;
  migrations: readonly MigrationResult[];
  /** packets that the recorder on the fabric objected to, in words */
  recorderViolations: readonly string[];
}

/** What `--json` writes. */
export interface DemoJson {
  baseline: { connections: number; survived: number };
  migrations: MigrationResult[];
}

/** how much longer than the freeze a client may wait, ms */
export const allowedGapBeyondFreezeMs = 30;

const heads = [
  'scenario',
  'from -> to',
  'before',
  'after',
  'resets',
  'wrong or lost',
  'freeze',
  'worst client gap',
  'switch',
];
/** the columns up to this one are words, the others numbers */
const wordColumns = 2;

/** The closing table, one line per element. */
export function renderTable(results: DemoResults): string[] {
  const { baseline } = results;
  const rows = [
    [
      'without Serval',
      `${baseline.from} -> ${baseline.to}`,
      ...[baseline.connections, baseline.survived, baseline.resets].map(String),
      '-',
      formatMs(baseline.freezeMs),
      baseline.survived === 0 ? 'never ends' : '-',
      '-',
    ],
    ...results.migrations.map((migration, index) => [
      `with Serval, ${index + 1}`,
      `${migration.from} -> ${migration.to}`,
      ...[migration.connections, migration.survived, migration.resets, migration.wrongReplies].map(String),
      formatMs(migration.freezeMs),
      formatMs(migration.worstClientGapMs),
      formatMs(migration.switchMs),
    ]),
  ];
  return renderColumns(heads, rows, wordColumns);
}

/** The results in the form that `--json` promises, nothing more in it. */
export function toJson(results: DemoResults): DemoJson {
  return {
    baseline: { connections: results.baseline.connections, survived: results.baseline.survived },
    migrations: results.migrations.map((migration) => ({
      from: migration.from,
      to: migration.to,
      connections: migration.connections,
      survived: migration.survived,
      resets: migration.resets,
      wrongReplies: migration.wrongReplies,
      freezeMs: round(migration.freezeMs),
      worstClientGapMs: round(migration.worstClientGapMs),
      switchMs: round(migration.switchMs),
    })),
  };
}

/** The promises that were not kept, in words; empty when all were. A figure that is missing counts as not kept. */
export function verdict(results: DemoResults): string[] {
  const failures: string[] = [];
  const promise = (kept: boolean, failure: string): void => {
    if (!kept) failures.push(failure);
  };
  const { baseline, migrations, recorderViolations } = results;
  promise(baseline.connections > 0, 'without Serval: no connection was open, so nothing was shown');
  promise(baseline.survived === 0, `without Serval: ${baseline.survived} connections survived, 0 were to`);
  promise(migrations.length > 0, 'with Serval: no migration was made');
  for (const migration of migrations) {
    const name = `${migration.from} -> ${migration.to}`;
    const { connections, survived, resets, wrongReplies, switchMs } = migration;
    promise(connections > 0, `${name}: no connection was open, so nothing was shown`);
    promise(survived === connections, `${name}: ${survived} of ${connections} connections survived`);
    promise(resets === 0, `${name}: ${resets} connections were reset`);
    promise(wrongReplies === 0, `${name}: ${wrongReplies} replies were wrong or lost`);
    promise(switchMs >= 0, `${name}: the switch was not measured`);
  }
  promise(recorderViolations.length === 0, violationsInWords(recorderViolations));
  return failures;
}

/** The times that were promised and missed, in words: apart, since they tell as much of the machine's load as of the move. */
export function missedTimes({ migrations }: DemoResults): string[] {
  return migrations
    .filter(({ freezeMs, worstClientGapMs }) => !(worstClientGapMs <= freezeMs + allowedGapBeyondFreezeMs))
    .map(
      ({ from, to, freezeMs, worstClientGapMs }) =>
        `${from} -> ${to}: the worst client gap was ${formatMs(worstClientGapMs)}, ` +
        `allowed are the freeze of ${formatMs(freezeMs)} and ${allowedGapBeyondFreezeMs} ms`,
    );
}

function violationsInWords(violations: readonly string[]): string {
  const shown = violations.slice(0, 3).join('; ');
  const more = violations.length > 3 ? `; and ${violations.length - 3} more` : '';
  return `packet recorder: ${violations.length} violations: ${shown}${more}`;
}

function round(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}
