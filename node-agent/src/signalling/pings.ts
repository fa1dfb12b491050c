/** Notices a connection whose other end is gone without a word: the far host lost its power, or the path between was cut. */
import type { Http2Session } from 'node:http2';

export class Pings {
  private readonly timer: NodeJS.Timeout;
  private patience: NodeJS.Timeout | undefined;

  /** A session that does not answer in time is destroyed. */
  constructor(
    private readonly session: Http2Session,
    private readonly limits: { pingEveryMs: number; pingWithinMs: number },
  ) {
    this.timer = setInterval(() => this.ping(), limits.pingEveryMs).unref();
  }

  /** Asks now; does nothing where an answer is waited for already. */
  ping(): void {
    if (this.patience !== undefined || this.session.destroyed) return;
    this.patience = setTimeout(() => this.session.destroy(), this.limits.pingWithinMs).unref();
    const sent = this.session.ping((error) => {
      // An error is the session's end, and not an answer.
      if (error === null) this.answered();
    });
    if (!sent) this.answered();
  }

  stop(): void {
    clearInterval(this.timer);
    this.answered();
  }

  private answered(): void {
    clearTimeout(this.patience);
    this.patience = undefined;
  }
}
