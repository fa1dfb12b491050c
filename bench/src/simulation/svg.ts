/** Plots as SVG by hand: lines and bands over time, legible on light and on dark ground. */

export interface Series {
  /** class of style, see `style` */
  look: 'a' | 'b' | 'c' | 'first' | 'flows';
  label: string;
  values: readonly number[];
}

export interface Panel {
  title: string;
  /** of each value, s */
  times: readonly number[];
  series: readonly Series[];
  /** between two lines */
  band?: { label: string; low: readonly number[]; high: readonly number[] };
  /** horizontal lines that something is promised of */
  limits?: readonly number[];
  /** vertical line: when something happens, s */
  eventAt?: number;
  /** of the vertical axis */
  from: number;
  to: number;
  ticks: readonly number[];
  format: (value: number) => string;
}

/** Mid-tones: three to one and more against both grounds. */
const style = `
  text { font: 12px system-ui, sans-serif; fill: #57606a }
  .title { font-size: 14px; font-weight: 600 }
  .grid { stroke: #8b949e; stroke-opacity: .3 }
  .limit { stroke: #8b949e; stroke-dasharray: 2 3 }
  .event { stroke: #8b949e; stroke-dasharray: 6 4 }
  .band { fill: #8b949e; fill-opacity: .25 }
  .line { fill: none; stroke-width: 1.8; stroke-linejoin: round }
  .a { stroke: #d9622b } .b { stroke: #2f81d6 } .c { stroke: #1a9a78 } .first { stroke: #a855c7 } .flows { stroke: #8b949e }
  @media (prefers-color-scheme: dark) { text { fill: #b1bac4 } }`;

const [panelWidth, panelHeight] = [300, 150];
const [left, top, gapX, gapY, bottom] = [46, 62, 24, 46, 62];

/** `rows` of panels, with one title and one legend for all. */
export function svg(title: string, rows: ReadonlyArray<readonly Panel[]>): string {
  const columns = Math.max(...rows.map((row) => row.length));
  const width = left + columns * (panelWidth + gapX);
  const height = top + rows.length * (panelHeight + gapY) + bottom - gapY;
  const panels = rows.flatMap((row, y) =>
    row.map((panel, x) => {
      const at = `translate(${left + x * (panelWidth + gapX)} ${top + y * (panelHeight + gapY)})`;
      return `<g transform="${at}">${draw(panel, x === 0)}</g>`;
    }),
  );
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" role="img">`,
    `<title>${escaped(title)}</title><style>${style}\n</style>`,
    `<text class="title" x="${left}" y="22">${escaped(title)}</text>`,
    ...panels,
    legend(rows.flat(), height - 14),
    '</svg>\n',
  ].join('\n');
}

function draw(panel: Panel, hasLabels: boolean): string {
  const { times, from, to } = panel;
  const [first, last] = [times[0] as number, times.at(-1) as number];
  const x = (time: number): string => (((time - first) / (last - first)) * panelWidth).toFixed(1);
  const y = (value: number): string => {
    const inside = Math.min(to, Math.max(from, value));
    return (panelHeight - ((inside - from) / (to - from)) * panelHeight).toFixed(1);
  };
  const points = (values: readonly number[]): string[] =>
    values.map((value, i) => `${x(times[i] as number)} ${y(value)}`);
  const across = (value: number, look: string): string =>
    `<line class="${look}" x1="0" x2="${panelWidth}" y1="${y(value)}" y2="${y(value)}"/>`;
  const parts = [`<text x="0" y="-8">${escaped(panel.title)}</text>`];
  for (const tick of panel.ticks) {
    parts.push(across(tick, 'grid'));
    if (hasLabels)
      parts.push(`<text x="-6" y="${y(tick)}" dy="4" text-anchor="end">${panel.format(tick)}</text>`);
  }
  for (const tick of timeTicks(first, last))
    parts.push(`<text x="${x(tick)}" y="${panelHeight + 16}" text-anchor="middle">${tick} s</text>`);
  const { band, eventAt } = panel;
  if (band !== undefined)
    parts.push(
      `<path class="band" d="M${[...points(band.low), ...points(band.high).reverse()].join('L')}Z"/>`,
    );
  for (const limit of panel.limits ?? []) parts.push(across(limit, 'limit'));
  if (eventAt !== undefined)
    parts.push(`<line class="event" x1="${x(eventAt)}" x2="${x(eventAt)}" y1="0" y2="${panelHeight}"/>`);
  for (const { look, values } of panel.series)
    parts.push(`<path class="line ${look}" d="M${points(values).join('L')}"/>`);
  return parts.join('\n');
}

/** Four or five round ones. */
function timeTicks(first: number, last: number): number[] {
  const step = [10, 20, 50, 100].find((each) => (last - first) / each <= 5) ?? 200;
  const from = Math.ceil(first / step);
  return Array.from({ length: Math.floor(last / step) - from + 1 }, (_, i) => (from + i) * step);
}

function legend(panels: readonly Panel[], y: number): string {
  const labels = new Map<string, string>();
  for (const { series, band } of panels) {
    for (const { label, look } of series) labels.set(label, `<path class="line ${look}" d="M0 -4h18"/>`);
    if (band !== undefined) labels.set(band.label, '<path class="band" d="M0 -9h18v9h-18z"/>');
  }
  let x = left;
  return [...labels]
    .map(([label, mark]) => {
      const item = `<g transform="translate(${x} ${y})">${mark}<text x="24">${escaped(label)}</text></g>`;
      x += 24 + label.length * 6.6 + 22;
      return item;
    })
    .join('\n');
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
