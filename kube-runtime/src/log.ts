/** Structured logs of agents and the operator: one JSON object a line on standard error. */
import { ServalError } from '@serval/api';
import { pino, stdTimeFunctions, type DestinationStream, type Logger } from 'pino';

export type { Logger } from 'pino';

export const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof logLevels)[number];

export interface LogOptions {
  level: LogLevel;
  /** on each line: whose it is */
  base: Readonly<Record<string, string>>;
  /** default: standard error, written at once, so that a dying process's last words are not lost */
  destination?: DestinationStream;
}

/** Errors under `err`: ServalErrors with subject, reason and remedy. */
export function makeLog({ level, base, destination }: LogOptions): Logger {
  const options = {
    level,
    base: { ...base },
    timestamp: stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    serializers: { err: describeError },
  };
  return pino(options, destination ?? pino.destination({ dest: 2, sync: true }));
}

function describeError(thrown: unknown): unknown {
  if (thrown instanceof ServalError) {
    const { code, subject, reason, remedy, details } = thrown;
    return { code, subject, reason, remedy, ...(Object.keys(details).length > 0 ? { details } : {}) };
  }
  if (thrown instanceof Error) return { type: thrown.name, message: thrown.message, stack: thrown.stack };
  return thrown;
}
