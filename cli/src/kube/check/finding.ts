/** What a check found, and how it is told. */
import { ServalError } from '@serval/api';
import { reasonOf } from '../cluster.js';

export interface Finding {
  name: string;
  /** warn: it works, or something of it does not */
  result: 'ok' | 'warn' | 'fail';
  why: string;
  /** what to do about it */
  remedy?: string;
}

export interface Report {
  /** nothing failed */
  ok: boolean;
  findings: Finding[];
}

export function ok(name: string, why: string): Finding {
  return { name, result: 'ok', why };
}

export function warn(name: string, why: string, remedy: string): Finding {
  return { name, result: 'warn', why, remedy };
}

export function fail(name: string, why: string, remedy: string): Finding {
  return { name, result: 'fail', why, remedy };
}

/** A part of a check; where it may not look it says so, and the other parts go on. @throws ServalError without a server */
export async function look(name: string, part: () => Promise<Finding[]>): Promise<Finding[]> {
  try {
    return await part();
  } catch (error) {
    const code = error instanceof ServalError ? error.code : undefined;
    if (code === undefined || code === 'ERR_UNREACHABLE' || code === 'ERR_TIMEOUT') throw error;
    const remedy = (error as ServalError).remedy;
    return [warn(name, `it could not be looked at: ${reasonOf(error)}`, remedy)];
  }
}

export function reportOf(findings: Finding[]): Report {
  return { ok: findings.every(({ result }) => result !== 'fail'), findings };
}

const marks = { ok: 'ok  ', warn: 'WARN', fail: 'FAIL' } as const;

export function reportLines({ findings }: Report): string[] {
  const count = (wanted: Finding['result']): number =>
    findings.filter(({ result }) => result === wanted).length;
  return [
    ...findings.flatMap(({ name, result, why, remedy }) => [
      `${marks[result]}  ${name}: ${why}`,
      ...(remedy === undefined ? [] : [`      -> ${remedy}`]),
    ]),
    `${count('ok')} ok, ${count('warn')} warnings, ${count('fail')} failed`,
  ];
}

/** `a, b, c and 4 others` */
export function someOf(names: readonly string[], most = 3): string {
  const sorted = [...names].sort();
  const rest = sorted.length - most;
  return rest <= 0 ? sorted.join(', ') : `${sorted.slice(0, most).join(', ')} and ${rest} others`;
}
