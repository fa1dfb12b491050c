import { describe, expect, it, jest } from '@jest/globals';
import type { Effect, Event } from '../protocol/effects.js';
import type { Message, Reply } from '../protocol/messages.js';
import { backoffMs, Runner, type Core, type RunnerDeps } from './runner.js';

const migration = '00000000000000aa';
const abort: Message = { kind: 'abort', migration };

/** A protocol that answers each event with prepared effects. */
class ScriptedCore implements Core {
  readonly events: Event[] = [];
  constructor(private readonly script: (event: Event) => Effect[]) {}
  step(event: Event): Effect[] {
    this.events.push(event);
    return this.script(event);
  }
  persisted(): unknown {
    return { events: this.events.length };
  }
}

function run(script: (event: Event) => Effect[], deps: Partial<RunnerDeps> = {}) {
  const core = new ScriptedCore(script);
  const observe = {
    noted: jest.fn(),
    span: jest.fn(),
    sent: jest.fn(),
    unreached: jest.fn(),
    failed: jest.fn(),
    stepped: jest.fn(),
  };
  const runner = new Runner({
    node: 'n1',
    core,
    request: () => Promise.reject(new Error('nobody there')),
    work: () => Promise.resolve({}),
    store: { write: () => Promise.resolve(), remove: () => Promise.resolve() },
    observe,
    ...deps,
  });
  return { runner, core, observe };
}

const cancel: Event = { type: 'cancel', migration };
const onCancel =
  (...effects: Effect[]) =>
  (event: Event): Effect[] =>
    event.type === 'cancel' ? effects : [];
const persist: Effect = { type: 'persist', role: 'source', migration };
const retire: Effect = {
  type: 'run',
  role: 'source',
  migration,
  work: 'retire',
  request: { epoch: 1, addresses: {} },
};

async function until(done: () => boolean): Promise<void> {
  while (!done()) await new Promise((resolve) => setImmediate(resolve));
}

describe('the runner', () => {
  it('does nothing that follows a record before that is on stable storage', async () => {
    const order: string[] = [];
    let written = (): void => undefined;
    const { runner } = run(onCancel(persist, retire), {
      store: {
        write: () => new Promise((resolve) => (written = () => (order.push('written'), resolve()))),
        remove: () => Promise.resolve(),
      },
      work: (_, __, work) => (order.push(work), Promise.resolve({})),
    });
    runner.dispatch(cancel);
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(order).toEqual([]);
    written();
    await until(() => order.length === 2);
    expect(order).toEqual(['written', 'retire']);
  });

  it('lets a workload run on whatever the disk does', async () => {
    const order: string[] = [];
    const thaw: Effect = { type: 'run', role: 'source', migration, work: 'thaw', request: {} };
    const { runner } = run(onCancel(persist, retire, thaw), {
      store: { write: () => new Promise(() => undefined), remove: () => Promise.resolve() },
      work: (_, __, work) => (order.push(work), Promise.resolve({})),
    });
    runner.dispatch(cancel);
    await until(() => order.length > 0);
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(order).toEqual(['thaw']);
  });

  it('tells peers of the switch while the target writes, and lets nothing run before', async () => {
    const order: string[] = [];
    const send = (kind: 'rsyn' | 'switched'): Effect =>
      ({ type: 'send', role: 'target', to: 'n2', request: kind, message: { kind, migration } }) as Effect;
    const resume = { ...retire, role: 'target', work: 'resume' } as Effect;
    const { runner } = run(onCancel(persist, send('rsyn'), resume, send('switched')), {
      store: { write: () => new Promise(() => undefined), remove: () => Promise.resolve() },
      work: (_, __, work) => (order.push(work), Promise.resolve({})),
      request: (_, { kind }) => (order.push(kind), Promise.resolve({ ok: true })),
    });
    runner.dispatch(cancel);
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(order).toEqual(['rsyn']);
  });

  it('writes until it works, and what it was when it was decided', async () => {
    let attempts = 0;
    const values: unknown[] = [];
    const { runner, observe } = run(onCancel(persist, retire), {
      store: {
        write: (_, value) => {
          values.push(value);
          return attempts++ === 0 ? Promise.reject(new Error('full')) : Promise.resolve();
        },
        remove: () => Promise.resolve(),
      },
    });
    runner.dispatch(cancel);
    await until(() => attempts === 2);
    expect(values).toEqual([{ events: 1 }, { events: 1 }]);
    expect(observe.failed).toHaveBeenCalledTimes(1);
  });

  it('does not let one migration wait for the writes of another', async () => {
    const done: string[] = [];
    const other = { ...retire, migration: '00000000000000bb' } as Effect;
    const { runner } = run(onCancel(persist, retire, other), {
      store: { write: () => new Promise(() => undefined), remove: () => Promise.resolve() },
      work: (_, id) => (done.push(id), Promise.resolve({})),
    });
    runner.dispatch(cancel);
    await until(() => done.length === 1);
    expect(done).toEqual(['00000000000000bb']);
  });

  it('tells the protocol what came of work and of requests', async () => {
    const ask: Effect = { type: 'send', role: 'source', to: 'n2', request: 'abort/n2', message: abort };
    const { runner, core } = run(onCancel(retire, ask), {
      work: () => Promise.reject(new Error('no such pod')),
    });
    runner.dispatch(cancel);
    await until(() => core.events.length === 3);
    expect(core.events.slice(1)).toEqual(
      expect.arrayContaining([
        { type: 'failed', role: 'source', migration, work: 'retire', reason: 'no such pod' },
        { type: 'unreached', role: 'source', migration, request: 'abort/n2', reason: 'nobody there' },
      ]),
    );
  });

  it('asks its own node without the network, and gives each message an answer', async () => {
    const ok: Reply = { ok: true };
    const ask: Effect = { type: 'send', role: 'source', to: 'n1', request: 'abort/n1', message: abort };
    const script = (event: Event): Effect[] => {
      if (event.type === 'cancel') return [ask];
      return event.type === 'message' ? [{ type: 'reply', ticket: event.ticket, reply: ok }] : [];
    };
    const { runner, core } = run(script);
    runner.dispatch(cancel);
    await until(() => core.events.length === 3);
    expect(core.events[1]).toMatchObject({ type: 'message', from: 'n1', message: abort });
    expect(core.events[2]).toMatchObject({ type: 'replied', request: 'abort/n1', reply: ok });
  });

  it('answers a message even where the protocol fails on it', async () => {
    const { runner } = run(() => {
      throw new Error('bug');
    });
    await expect(runner.handle('n2', abort)).resolves.toMatchObject({ ok: false, refusal: 'failed' });
  });

  it('lets go of whoever waits when it stops, and begins nothing any more', async () => {
    const { runner, core } = run(() => []);
    const answer = runner.handle('n2', abort);
    runner.stop();
    await expect(answer).resolves.toMatchObject({ ok: false });
    runner.dispatch(cancel);
    expect(core.events).toHaveLength(1);
  });

  it('backs off with jitter', () => {
    const limits = { firstMs: 20, longestMs: 2000 };
    expect(backoffMs(0, limits, 0)).toBe(10);
    expect(backoffMs(0, limits, 1)).toBe(20);
    expect(backoffMs(3, limits, 1)).toBe(160);
    expect(backoffMs(60, limits, 1)).toBe(2000);
  });
});
