/** Figures that were promised, against what was measured. */
import { table } from './table.js';

export interface Promised {
  what: string;
  promised: string;
  measured: string;
  kept: boolean;
}

/** A figure that is missing is not kept. */
export function atMost(what: string, value: number | undefined, limit: number, unit: string): Promised {
  const measured = value ?? NaN;
  return {
    what,
    promised: `at most ${limit} ${unit}`,
    measured: `${measured} ${unit}`,
    kept: measured <= limit,
  };
}

export function atLeast(what: string, measured: number, limit: number): Promised {
  return { what, promised: `at least ${limit}`, measured: String(measured), kept: measured >= limit };
}

export function above(what: string, measured: number, other: number): Promised {
  return { what, promised: `above ${other}`, measured: String(measured), kept: measured > other };
}

export function isMissed({ kept }: Promised): boolean {
  return !kept;
}

export function promiseTable(all: readonly Promised[]): string {
  const rows = all.map(({ what, promised, measured, kept }) => [
    what,
    promised,
    measured,
    kept ? 'kept' : 'MISSED',
  ]);
  return `Promised figures\n${table([['', 'promised', 'measured', ''], ...rows])}`;
}
