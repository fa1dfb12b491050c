import { formatMs } from './report.js';

/** One phase of a migration on the common clock, ms; phases may overlap. */
export interface Phase {
  name: string;
  startMs: number;
  durationMs: number;
  /** whether the workload stands still meanwhile: drawn apart, as this is what clients may feel */
  frozen?: boolean;
}

/** How a timeline is drawn. */
export interface TimelineOptions {
  /** longest line, characters; default 80, at least 40 */
  width?: number;
}

const bars = { running: '-', frozen: '#' };

/**
 * Draws phases as an ASCII Gantt chart, one line per phase in the order given, each with its start and duration,
 * times counted from the first start; every phase gets at least one column. No line is longer than the width.
 */
export function renderTimeline(phases: readonly Phase[], options: TimelineOptions = {}): string[] {
  if (phases.length === 0) return ['(no phases)'];
  const width = Math.max(40, Math.floor(options.width ?? 80));
  const from = Math.min(...phases.map(({ startMs }) => startMs));
  const to = Math.max(...phases.map(({ startMs, durationMs }) => startMs + durationMs));
  const nameWidth = Math.min(16, Math.max(...phases.map(({ name }) => name.length)));
  const times = phases.map((phase) => ({
    at: `+${formatMs(phase.startMs - from)}`,
    took: formatMs(phase.durationMs),
  }));
  const atWidth = Math.max(...times.map(({ at }) => at.length));
  const tookWidth = Math.max(...times.map(({ took }) => took.length));
  const chart = Math.max(8, width - nameWidth - atWidth - tookWidth - 6);
  const lines = phases.map((phase, index) => {
    const time = times[index];
    const name = phase.name.slice(0, nameWidth).padEnd(nameWidth);
    const bar = drawBar(phase, from, to - from, chart);
    return `${name} |${bar}| ${(time?.at ?? '').padStart(atWidth)}  ${(time?.took ?? '').padStart(tookWidth)}`;
  });
  const legend = phases.some(({ frozen }) => frozen === true)
    ? [`${' '.repeat(nameWidth + 2)}# workload frozen`]
    : [];
  return [...lines, axis(nameWidth, chart, to - from), ...legend];
}

function drawBar(phase: Phase, from: number, total: number, columns: number): string {
  const scale = total > 0 ? columns / total : 0;
  const first = Math.min(columns - 1, Math.floor((phase.startMs - from) * scale));
  const last = Math.min(
    columns,
    Math.max(first + 1, Math.round((phase.startMs + phase.durationMs - from) * scale)),
  );
  const mark = phase.frozen === true ? bars.frozen : bars.running;
  return `${' '.repeat(first)}${mark.repeat(last - first)}`.padEnd(columns);
}

function axis(nameWidth: number, columns: number, totalMs: number): string {
  const end = formatMs(totalMs);
  return `${' '.repeat(nameWidth + 2)}0${end.padStart(Math.max(end.length, columns - 1))}`;
}
