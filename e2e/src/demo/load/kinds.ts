import { setTimeout as sleep } from 'node:timers/promises';
import { DeliveryCheck, PipelineCheck, SequenceCheck, type PlannedCommand, type Reply } from './checks.js';
import {
  isErrorReply,
  LoadConnection,
  type ConnectionListener,
  type ConnectionSettings,
} from './connection.js';
import { nowMs } from './protocol.js';

/** Sends a pipeline of reads and writes, checks every reply, pauses, and begins again. */
export class PipelinedConnection extends LoadConnection {
  private readonly plan: PipelineCheck;
  /** when the next pipeline should leave: a late start counts as waiting */
  private dueMs = Number.POSITIVE_INFINITY;

  constructor(id: string, settings: ConnectionSettings, listener: ConnectionListener) {
    super(id, 'pipelined', true, settings, listener);
    this.plan = new PipelineCheck(id, `${settings.keyPrefix}:${id}`, settings.valueBytes);
  }

  /** Sends one pipeline and judges its replies. */
  async round(): Promise<void> {
    this.meter.request(Math.min(this.dueMs, nowMs()));
    this.redis.stream.cork();
    const asked = this.plan.plan().map((command) => this.issue(command));
    this.redis.stream.uncork();
    const replies = await Promise.all(asked);
    if (replies.some((reply) => reply instanceof Error && !isErrorReply(reply))) return;
    const now = nowMs();
    this.dueMs = now + this.settings.paceMs;
    this.meter.reply(now);
    this.replies += replies.length;
    this.report(this.plan.check(replies));
  }

  /** Sends one command; an error becomes its reply. */
  private issue(command: PlannedCommand): Promise<Reply> {
    const reply: Promise<Reply> =
      command[0] === 'set'
        ? this.redis.set(command[1], command[2])
        : command[0] === 'get'
          ? this.redis.get(command[1])
          : this.redis.incr(command[1]);
    return reply.catch((error: unknown) => (error instanceof Error ? error : new Error(String(error))));
  }

  protected override work(delayMs: number): Promise<void> {
    void this.loop(delayMs);
    return Promise.resolve();
  }

  private async loop(delayMs: number): Promise<void> {
    await sleep(delayMs);
    this.meter.start(nowMs());
    while (this.running) {
      await this.round();
      await sleep(this.settings.paceMs);
    }
  }
}

/** Says nothing until it is checked. */
export class IdleConnection extends LoadConnection {
  constructor(id: string, settings: ConnectionSettings, listener: ConnectionListener) {
    super(id, 'idle', false, settings, listener);
  }

  protected override work(): Promise<void> {
    return Promise.resolve();
  }
}

/** Publishes numbered messages at a steady rate, whether or not the earlier ones were answered. */
export class PublisherConnection extends LoadConnection {
  /** a publisher whose server is silent keeps this many messages open, then waits */
  private static readonly maxOpen = 2000;
  /** highest number that the server acknowledged */
  acknowledged = 0;
  private sent = 0;
  private timer: NodeJS.Timeout | undefined;

  /** @param channel where it publishes */
  constructor(
    id: string,
    private readonly channel: string,
    settings: ConnectionSettings,
    listener: ConnectionListener,
  ) {
    super(id, 'publisher', true, settings, listener);
  }

  /** Appends a value to a list. */
  async push(key: string, value: string): Promise<void> {
    await this.ask(() => this.redis.rpush(key, value));
  }

  /** How many values wait in a list. */
  waiting(key: string): Promise<number> {
    return this.ask(() => this.redis.llen(key));
  }

  override close(): void {
    clearInterval(this.timer);
    super.close();
  }

  protected override work(): Promise<void> {
    this.meter.start(nowMs());
    this.timer = setInterval(() => this.tick(), this.settings.publishMs);
    return Promise.resolve();
  }

  private tick(): void {
    if (!this.running) return clearInterval(this.timer);
    if (this.sent - this.acknowledged >= PublisherConnection.maxOpen) return;
    this.sent += 1;
    void this.publish(this.sent);
  }

  private async publish(number: number): Promise<void> {
    try {
      await this.ask(() => this.redis.publish(this.channel, String(number)));
      if (number !== this.acknowledged + 1) {
        this.report([{ command: 'publish', expected: String(this.acknowledged + 1), got: String(number) }]);
      }
      this.acknowledged = number;
    } catch (error) {
      this.onCommandError('publish', error);
    }
  }
}

/** Subscribes to the publisher's channel and checks that every message comes once and in order. */
export class SubscriberConnection extends LoadConnection {
  private readonly sequence = new SequenceCheck();

  /** @param publisher whose messages it hears */
  constructor(
    id: string,
    private readonly channel: string,
    private readonly publisher: PublisherConnection,
    settings: ConnectionSettings,
    listener: ConnectionListener,
  ) {
    super(id, 'subscriber', true, settings, listener);
  }

  protected override async work(): Promise<void> {
    this.redis.on('message', (_channel: string, text: string) => {
      this.meter.arrival(nowMs());
      this.replies += 1;
      this.report(this.sequence.receive(text));
    });
    await this.redis.subscribe(this.channel);
    this.meter.start(nowMs());
  }

  /** What was acknowledged to the publisher before we asked must have come before the answer. */
  protected override async verify(): Promise<string | undefined> {
    const acknowledged = this.publisher.acknowledged;
    const reason = await this.identify();
    if (reason === undefined && this.running) this.report(this.sequence.settle(acknowledged));
    return reason;
  }
}

/** Waits in BLPOP on a list of its own; a check pushes one value, which must come out exactly once. */
export class BlockedConnection extends LoadConnection {
  private readonly delivery: DeliveryCheck;
  private readonly key: string;
  private onPopped: ((reason: string | undefined) => void) | undefined;

  /** @param publisher who pushes */
  constructor(
    id: string,
    private readonly publisher: PublisherConnection,
    settings: ConnectionSettings,
    listener: ConnectionListener,
  ) {
    super(id, 'blocked', false, settings, listener);
    this.key = `${settings.keyPrefix}:${id}:list`;
    this.delivery = new DeliveryCheck(id);
  }

  protected override work(): Promise<void> {
    void this.loop();
    return Promise.resolve();
  }

  protected override async verify(): Promise<string | undefined> {
    if (!this.running) return this.identify();
    const popped = new Promise<string | undefined>((resolve) => (this.onPopped = resolve));
    await this.publisher.push(this.key, this.delivery.push());
    const reason = await popped;
    const left = await this.publisher.waiting(this.key);
    if (left > 0) this.report([{ command: 'llen', expected: '0', got: String(left) }]);
    return reason;
  }

  private async loop(): Promise<void> {
    while (this.running) {
      try {
        const popped = await this.redis.blpop(this.key, 0);
        this.replies += 1;
        this.report(this.delivery.pop(popped === null ? 'nil' : popped[1]));
        this.onPopped?.(await this.identify());
      } catch (error) {
        this.onCommandError('blpop', error);
        if (!isErrorReply(error)) return;
        await sleep(this.settings.paceMs);
      }
    }
  }
}
