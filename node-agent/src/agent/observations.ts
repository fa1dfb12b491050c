/** What the runner sees, told to the log, the metrics and the book of migrations. */
import type { Event, Note, Role } from '../protocol/effects.js';
import type { Message, MessageKind, MigrationId, NodeName } from '../protocol/messages.js';
import type { MigrationBook } from './book.js';
import type { Logger } from '@serval/kube-runtime';
import { migrationLog } from './log.js';
import type { AgentMetrics } from './metrics.js';
import type { Observer } from './runner.js';

/** Phases in which a role's part is over, and how it ended then. */
const results: Record<Role, Readonly<Record<string, string>>> = {
  source: { retired: 'succeeded', aborted: 'rolledBack' },
  target: { done: 'succeeded', givenUp: 'rolledBack' },
  peer: { switched: 'succeeded', givenUp: 'rolledBack' },
};

export class Observations implements Observer {
  constructor(
    private readonly log: Logger,
    private readonly metrics: AgentMetrics,
    private readonly book: MigrationBook,
    private readonly onPhase: (role: Role, migration: MigrationId, phase: string) => void = () => undefined,
  ) {}

  noted(role: Role, migration: MigrationId, note: Note): void {
    const log = migrationLog(this.log, migration, role);
    switch (note.what) {
      case 'phase':
        log.info({ phase: note.phase }, 'phase');
        this.countEnd(role, note.phase);
        this.onPhase(role, migration, note.phase);
        break;
      case 'retry':
        log.debug(note, 'asked again');
        this.metrics.retries.inc({ message: note.message });
        if (note.message === 'rsyn') this.metrics.rsynRetries.inc();
        break;
      case 'givenUp':
        log.warn({ reason: note.reason }, 'given up');
        break;
      case 'lost':
        log.warn({ reason: note.reason, flows: note.flows }, 'flows will be lost');
        this.metrics.lostFlows.inc({ reason: note.reason }, note.flows);
        break;
      case 'switched':
        this.metrics.freeze.observe(note.report.resumeMs / 1000);
        this.book.reported(migration, note.report);
        break;
      case 'refused':
        log.warn(note, 'refused');
        this.metrics.refusals.inc({ message: note.message, refusal: note.refusal });
        break;
    }
    if (role === 'source') this.bookNote(migration, note);
  }

  span(role: Role, migration: MigrationId, name: string, startMs: number, durationMs: number): void {
    this.metrics.phases.observe({ role, phase: name }, durationMs / 1000);
    if (role === 'source') this.book.span(migration, { name, startMs, durationMs });
  }

  sent(message: MessageKind, outcome: 'replied' | 'refused' | 'unreached'): void {
    this.metrics.requests.inc({ message, outcome });
    if (message === 'rsyn') this.metrics.rsyn.inc({ outcome });
  }

  unreached(to: NodeName, { kind, migration }: Message, reason: string): void {
    migrationLog(this.log, migration).info({ to, message: kind, reason }, 'no answer');
  }

  failed(what: string, error: unknown, migration?: MigrationId): void {
    const log = migration === undefined ? this.log : migrationLog(this.log, migration);
    log.error({ err: error }, `${what} failed`);
  }

  stepped(event: Event): void {
    if (
      event.type === 'done' &&
      event.role === 'source' &&
      (event.work === 'plan' || event.work === 'freeze')
    )
      this.book.planned(event.migration, event.result.target.length);
  }

  private countEnd(role: Role, phase: string): void {
    const result = results[role][phase];
    if (result !== undefined) this.metrics.migrations.inc({ role, result });
  }

  private bookNote(migration: MigrationId, note: Note): void {
    this.book.noted(migration, note);
    if (note.what !== 'phase') return;
    const result = results.source[note.phase];
    if (result !== undefined) void this.book.end(migration, result === 'succeeded' ? 'succeeded' : 'failed');
  }
}
