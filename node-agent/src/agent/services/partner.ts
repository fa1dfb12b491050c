/** What is known of one other node, as far as reports go. Times are ms of one clock that is handed in. Pure. */
import type { NodeReport } from '../../signalling/index.js';

/** A report with a lower number than one before it is late; but one of a clock that was set back counts after so long. */
const lateMs = 5_000;
/** So often a node is tried that did not know what a report is. */
const olderEveryMs = 60_000;

export class Partner {
  latest: { report: NodeReport; receivedAt: number } | undefined;
  /** when the first of the attempts was that failed in a row */
  failingSince: number | undefined;
  private hasWorked = false;
  private sequence = 0;
  private busy = false;
  /** something has changed since what is under way was said */
  private again = false;
  private notBefore = -Infinity;
  private askedAt = -Infinity;
  private loadUntil = -Infinity;

  /** False where it is to be let alone now. Where it is busy and this is `urgent`, `end` says so. */
  begin(now: number, urgent: boolean): boolean {
    if (now < this.notBefore) return false;
    if (this.busy) {
      this.again ||= urgent;
      return false;
    }
    this.busy = true;
    return true;
  }

  /** True where it is to be asked again at once. */
  end(): boolean {
    this.busy = false;
    const { again } = this;
    this.again = false;
    return again;
  }

  /** It has asked here, and wants the load of replicas for so long. */
  asked(now: number, loadMs: number): void {
    this.askedAt = now;
    this.loadUntil = now + loadMs;
    // It knows what a report is.
    this.notBefore = -Infinity;
  }

  hasAsked(now: number, withinMs: number): boolean {
    return now - this.askedAt <= withinMs;
  }

  wantsLoad(now: number): boolean {
    return now < this.loadUntil;
  }

  isLate(sequence: number, now: number): boolean {
    return sequence < this.sequence && now - (this.latest?.receivedAt ?? -Infinity) < lateMs;
  }

  heard(latest: { report: NodeReport; receivedAt: number }, sequence: number): void {
    this.latest = latest;
    this.sequence = sequence;
  }

  /** True where it had been silent, and that was told. */
  worked(): boolean {
    const wasSilent = this.hasWorked && this.failingSince !== undefined;
    this.hasWorked = true;
    this.failingSince = undefined;
    return wasSilent;
  }

  /** True for the first failure after it had worked: one that never did may not be up yet. */
  failed(now: number): boolean {
    const isNew = this.failingSince === undefined;
    this.failingSince ??= now;
    return isNew && this.hasWorked;
  }

  isOlder(now: number): void {
    this.notBefore = now + olderEveryMs;
  }
}
