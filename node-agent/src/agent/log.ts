/** Structured logs, one JSON object a line on standard error; whatever is about a migration carries its id. */
import { ServalError } from '@serval/api';
import { pino, stdTimeFunctions, type DestinationStream, type Logger } from 'pino';
import type { LogLevel } from './config.js';

export type { Logger } from 'pino';

export interface LogOptions {
  level: LogLevel;
  node: string;
  /** default: standard error, written at once, so that a dying agent's last words are not lost */
  destination?: DestinationStream;
}

/** Errors under `err`: ServalErrors with subject, reason and remedy. */
export function makeLog({ level, node, destination }: LogOptions): Logger {
  const options = {
    level,
    base: { node },
    timestamp: stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    serializers: { err: describeError },
  };
  return pino(options, destination ?? pino.destination({ dest: 2, sync: true }));
}

/** The log of one migration. */
export function migrationLog(log: Logger, migration: string, role?: string): Logger {
  return log.child(role === undefined ? { migration } : { migration, role });
}

function describeError(thrown: unknown): unknown {
  if (thrown instanceof ServalError) {
    const { code, subject, reason, remedy, details } = thrown;
    return { code, subject, reason, remedy, ...(Object.keys(details).length > 0 ? { details } : {}) };
  }
  if (thrown instanceof Error) return { type: thrown.name, message: thrown.message, stack: thrown.stack };
  return thrown;
}
