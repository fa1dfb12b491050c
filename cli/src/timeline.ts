/** Pure: phases as an ASCII Gantt chart. */
import type { TimelinePhase } from '@serval/api';
import { formatMs } from './text.js';

export interface TimelineOptions {
  /** longest line, characters; default 80, at least 60 */
  width?: number;
}

const longestName = 16;

/**
 * One line for each phase in the order given, with its start and how long it took, times counted from the first start;
 * every phase gets at least one column. No line is longer than the width.
 */
export function renderTimeline(phases: readonly TimelinePhase[], options: TimelineOptions = {}): string[] {
  if (phases.length === 0) return ['(no phases)'];
  const width = Math.max(60, Math.floor(options.width ?? 80));
  const from = Math.min(...phases.map(({ startMs }) => startMs));
  const to = Math.max(...phases.map(({ startMs, durationMs }) => startMs + durationMs));
  const starts = phases.map(({ startMs }) => `+${formatMs(startMs - from)}`);
  const lengths = phases.map(({ durationMs }) => formatMs(durationMs));
  const nameWidth = Math.min(longestName, widest(phases.map(({ name }) => name)));
  const columns = Math.max(8, width - nameWidth - widest(starts) - widest(lengths) - 6);
  const lines = phases.map((phase, index) => {
    const name = phase.name.slice(0, nameWidth).padEnd(nameWidth);
    const start = (starts[index] ?? '').padStart(widest(starts));
    const length = (lengths[index] ?? '').padStart(widest(lengths));
    return `${name} |${bar(phase, from, to - from, columns)}| ${start}  ${length}`;
  });
  const indent = ' '.repeat(nameWidth + 2);
  const end = formatMs(to - from);
  const axis = `${indent}0${end.padStart(Math.max(end.length, columns - 1))}`;
  const legend = phases.some(({ frozen }) => frozen) ? [`${indent}# workload frozen`] : [];
  return [...lines, axis, ...legend];
}

function bar(phase: TimelinePhase, from: number, total: number, columns: number): string {
  const scale = total > 0 ? columns / total : 0;
  const first = Math.min(columns - 1, Math.floor((phase.startMs - from) * scale));
  const end = Math.round((phase.startMs + phase.durationMs - from) * scale);
  const last = Math.min(columns, Math.max(first + 1, end));
  const mark = phase.frozen ? '#' : '-';
  return `${' '.repeat(first)}${mark.repeat(last - first)}`.padEnd(columns);
}

function widest(texts: readonly string[]): number {
  return Math.max(...texts.map((text) => text.length));
}
