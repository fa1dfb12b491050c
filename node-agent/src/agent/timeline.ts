/** Pure: from what steps of a move took, as the source's agent has seen them, to the timeline that people read. */
import type { TimelinePhase } from '@serval/api';
import type { SwitchReport } from '../protocol/messages.js';

/** A step of the move: performance.now() of its start, and how long it took. */
export interface Span {
  name: string;
  startMs: number;
  durationMs: number;
}

/** Steps in the order in which they are shown, each with its name for people. Others are left out. */
const shown: ReadonlyArray<{ span: string; phase: string; frozen: boolean }> = [
  { span: 'prepareTarget', phase: 'target pod', frozen: false },
  { span: 'plan', phase: 'list flows', frozen: false },
  { span: 'targetFlows', phase: 'target rules', frozen: false },
  { span: 'preparePeer', phase: 'peers', frozen: false },
  { span: 'quiesce', phase: 'quiesce', frozen: false },
  { span: 'hold', phase: 'hold', frozen: false },
  { span: 'freeze', phase: 'freeze', frozen: true },
  { span: 'dump', phase: 'dump', frozen: true },
  { span: 'transfer', phase: 'transfer', frozen: true },
  { span: 'restore', phase: 'restore', frozen: true },
  { span: 'resume', phase: 'resume', frozen: true },
  { span: 'switch', phase: 'switch', frozen: false },
  { span: 'retire', phase: 'commit', frozen: false },
];

export interface Timing {
  timeline: TimelinePhase[];
  /** how long the workload stood still */
  freezeMs?: number;
}

/** Of several spans of one name the last round counts: a move that backed off has held and planned more than once. */
export function timing(spans: readonly Span[], beganMs: number, report: SwitchReport | undefined): Timing {
  const steps = [...spans, ...atTarget(spans, report)];
  const timeline = shown.flatMap(({ span, phase, frozen }): TimelinePhase[] => {
    const last = lastRound(steps, span);
    if (last === undefined) return [];
    return [
      { name: phase, startMs: round(last.startMs - beganMs), durationMs: round(last.durationMs), frozen },
    ];
  });
  const freeze = lastRound(steps, 'freeze');
  const resume = lastRound(steps, 'resume');
  if (freeze === undefined || resume === undefined) return { timeline };
  return { timeline, freezeMs: round(resume.startMs + resume.durationMs - freeze.startMs) };
}

/** What the target reports, put on this node's clock by the release that it follows. */
function atTarget(spans: readonly Span[], report: SwitchReport | undefined): Span[] {
  const release = spans.findLast(({ name }) => name === 'release');
  if (release === undefined || report === undefined) return [];
  const { resumeMs, switchMs } = report;
  return [
    { name: 'resume', startMs: release.startMs, durationMs: resumeMs },
    { name: 'switch', startMs: release.startMs + resumeMs, durationMs: switchMs },
  ];
}

/** Spans of one name that overlap the last one of it, as one: what was asked of several nodes at once. */
function lastRound(spans: readonly Span[], name: string): Span | undefined {
  const mine = spans.filter((span) => span.name === name).sort((a, b) => b.startMs - a.startMs);
  const [last, ...earlier] = mine;
  if (last === undefined) return undefined;
  let [from, to] = [last.startMs, last.startMs + last.durationMs];
  for (const { startMs, durationMs } of earlier) {
    if (startMs + durationMs < from) break;
    from = startMs;
    to = Math.max(to, startMs + durationMs);
  }
  return { name, startMs: from, durationMs: to - from };
}

function round(ms: number): number {
  return Math.round(ms * 100) / 100;
}
