/** Pure: what the second scene found, as tables, as JSON, and as a verdict. */
import { formatMs } from '@serval/cli';
import { renderColumns } from '../columns.js';
import type { ServicesResult, StepResult } from './tally.js';

/** how long a connect() may take, ms */
export const allowedConnectMs = 300;
/** violations that are told in full */
const shownViolations = 3;

/** What `--json` writes as `services`. */
export type ServicesJson = Omit<ServicesResult, 'recorded'> & {
  recorded: Omit<ServicesResult['recorded'], 'violations'> & { violations: number };
};

/** Who served whom: a line for each step and site with clients, a column for each replica. */
export function renderServed({ replicas, steps }: ServicesResult): string[] {
  const heads = [
    'new flows',
    'clients in',
    ...replicas.map(({ name, site }) => `${name}, ${site}`),
    'failed',
    'slowest connect',
  ];
  const rows = steps.flatMap((step, number) => rowsOf(step, number, replicas));
  return renderColumns(heads, rows, 2);
}

function rowsOf(step: StepResult, number: number, replicas: ServicesResult['replicas']): string[][] {
  return step.served.map(({ clients, replicas: counts }, line) => [
    line === 0 ? `${number + 1} ${step.name}` : '',
    clients,
    ...replicas.map(({ name }) => String(counts[name] ?? 0)),
    ...(line === 0 ? [String(step.failedConnects), formatMs(step.slowestConnectMs)] : []),
  ]);
}

/** What is promised of services, and what was measured. */
export function renderPromises(result: ServicesResult): string[] {
  const { connects, killed, moved, even, crowded, recorded } = result;
  const rows = [
    ['failed connects', '0', `${result.failedConnects} of ${connects}`],
    ['slowest connect', `below ${allowedConnectMs} ms`, formatMs(result.slowestConnectMs)],
    ['flows that left their site while load was even', '0', `${even.elsewhere} of ${even.flows}`],
    [
      `flows of ${crowded.site} that left it while it was crowded`,
      'some',
      `${crowded.elsewhere} of ${crowded.flows}`,
    ],
    [
      `connections lost by the move of ${moved.replica}`,
      '0',
      `${moved.lost} of ${moved.held}; frozen for ${formatMs(moved.freezeMs)}, longest wait ${formatMs(moved.worstWaitMs)}`,
    ],
    [
      `connections lost with ${killed.replica}`,
      'its own',
      `${killed.lost} of ${killed.held}, within ${formatMs(killed.lostWithinMs)}`,
    ],
    [
      'packets on the wire that name the virtual IP',
      '0',
      `${recorded.virtualIp}, ${recorded.openings} openings seen`,
    ],
  ];
  return renderColumns(['', 'promised', 'measured'], rows, 3);
}

/** The results in the form that `--json` promises. */
export function servicesJson(result: ServicesResult): ServicesJson {
  const { recorded, steps, killed, moved } = result;
  return {
    ...result,
    steps: steps.map((step) => ({ ...step, slowestConnectMs: round(step.slowestConnectMs) })),
    slowestConnectMs: round(result.slowestConnectMs),
    killed: { ...killed, lostWithinMs: round(killed.lostWithinMs) },
    moved: { ...moved, freezeMs: round(moved.freezeMs), worstWaitMs: round(moved.worstWaitMs) },
    recorded: { ...recorded, violations: recorded.violations.length },
  };
}

/** The promises that were not kept, in words; empty when all were. What was not shown counts as not kept. */
export function servicesVerdict(result: ServicesResult): string[] {
  const { connects, failedConnects, unanswered, even, killed, moved, lostElsewhere, recorded } = result;
  const failures: string[] = [];
  const promise = (kept: boolean, failure: string): void => {
    if (!kept) failures.push(`services: ${failure}`);
  };
  const shown = (count: number, what: string): void => promise(count > 0, `${what}, so nothing was shown`);
  shown(connects, 'nobody connected');
  shown(even.flows, 'nobody was served while load was even');
  shown(killed.held, `${killed.replica} held no connection when it was killed`);
  shown(moved.held, `${moved.replica} held no connection when it moved`);
  shown(recorded.openings, 'the recorder saw no connection being opened');
  promise(failedConnects === 0, `${failedConnects} of ${connects} connects failed`);
  promise(unanswered === 0, `${unanswered} connections were made and not answered`);
  promise(
    even.elsewhere === 0,
    `${even.elsewhere} of ${even.flows} flows left their site while load was even`,
  );
  promise(moved.lost === 0, `${moved.lost} of ${moved.held} connections were lost by the move`);
  promise(lostElsewhere === 0, `${lostElsewhere} connections to other replicas were lost`);
  promise(recorded.virtualIp === 0, `${recorded.virtualIp} packets named the virtual IP on the wire`);
  promise(recorded.violations.length === 0, violationsInWords(recorded.violations));
  return failures;
}

/** What came too late, in words: apart, since it tells as much of the machine's load. */
export function servicesMissedTimes({ slowestConnectMs, crowded, killed }: ServicesResult): string[] {
  const missed: string[] = [];
  if (!(slowestConnectMs < allowedConnectMs))
    missed.push(`the slowest connect took ${formatMs(slowestConnectMs)}, allowed are ${allowedConnectMs} ms`);
  if (crowded.elsewhere === 0)
    missed.push(`none of ${crowded.flows} new flows left ${crowded.site} while it was crowded`);
  if (killed.lost < killed.held)
    missed.push(
      `${killed.lost} of ${killed.held} connections to ${killed.replica} were told that it is gone`,
    );
  return missed.map((words) => `services: ${words}`);
}

function violationsInWords(violations: readonly string[]): string {
  const more = violations.length - shownViolations;
  const words = violations.slice(0, shownViolations).join('; ');
  return `packet recorder: ${violations.length} violations: ${words}${more > 0 ? `; and ${more} more` : ''}`;
}

function round(ms: number): number {
  return Math.round(ms * 1000) / 1000;
}
