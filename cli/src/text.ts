/** Pure: small things that are written in more than one place. */
import type { EndpointView } from '@serval/api';

/** One digit below 10 ms, none above, seconds from 10 s on. */
export function formatMs(ms: number): string {
  if (!Number.isFinite(ms)) return '?';
  if (ms < 9.95) return `${ms.toFixed(1)} ms`;
  return ms < 9999.5 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

/** Of a part from 0 to 1; one digit below 10 %, none above. What is more than nothing does not look like it. */
export function formatPercent(part: number): string {
  if (!Number.isFinite(part)) return '?';
  const percent = part * 100;
  if (percent === 0) return '0 %';
  if (percent < 0.05) return '<0.1 %';
  return `${percent < 9.95 ? percent.toFixed(1) : percent.toFixed(0)} %`;
}

/** Rounded down to the largest unit that is not 0. */
export function formatAge(ms: number): string {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  const units: Array<[number, string]> = [
    [86_400, 'd'],
    [3_600, 'h'],
    [60, 'm'],
  ];
  const [size, unit] = units.find(([one]) => seconds >= one) ?? [1, 's'];
  return `${Math.floor(seconds / size)}${unit}`;
}

export function formatEndpoint({ address, port }: EndpointView): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

/** `a 1, b 2`, or `none` */
export function formatCounts(counts: Readonly<Record<string, number>>): string {
  const parts = Object.entries(counts)
    .filter(([, count]) => count > 0)
    .map(([name, count]) => `${name} ${count}`);
  return parts.length === 0 ? 'none' : parts.join(', ');
}

/** Columns as wide as they have to be; the last one is not padded. */
export function renderTable(rows: ReadonlyArray<readonly string[]>): string[] {
  // There may be 100,000 rows: more than one call takes arguments.
  const columns = rows.reduce((most, row) => Math.max(most, row.length), 0);
  const widths = Array.from({ length: columns }, (_, column) =>
    rows.reduce((width, row) => Math.max(width, (row[column] ?? '').length), 0),
  );
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column] ?? 0))
      .join('  ')
      .trimEnd(),
  );
}

/** What other machines have said may hold anything: nothing of it may move the cursor. */
export function printable(text: string): string {
  // eslint-disable-next-line no-control-regex -- that is the point
  return text.replaceAll(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f]/g, '?');
}
