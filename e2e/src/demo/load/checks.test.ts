import { describe, expect, it } from '@jest/globals';
import { DeliveryCheck, GapMeter, PipelineCheck, SequenceCheck, quantile, type Reply } from './checks.js';
import { LineSplitter, mixOf } from './protocol.js';

/** A store that answers as the server would. */
class Store {
  private readonly values = new Map<string, string>();

  answer(check: PipelineCheck): Reply[] {
    return check.plan().map(([command, key, value]) => {
      if (command === 'get') return this.values.get(key) ?? null;
      const stored = command === 'set' ? (value ?? '') : String(Number(this.values.get(key) ?? 0) + 1);
      this.values.set(key, stored);
      return command === 'set' ? 'OK' : Number(stored);
    });
  }

  tamper(key: string, value: string): void {
    this.values.set(key, value);
  }
}

function make() {
  const store = new Store();
  const check = new PipelineCheck('c1', 'p', 32);
  return { store, check, round: () => check.check(store.answer(check)) };
}

describe('PipelineCheck', () => {
  it('is content with a correct server, round after round', () => {
    const { round } = make();
    for (let count = 0; count < 5; count += 1) expect(round()).toEqual([]);
  });

  it('plans as many commands as it says, with values of the size that was asked for', () => {
    const plan = new PipelineCheck('c1', 'p', 32).plan();
    expect(plan).toHaveLength(PipelineCheck.commandsPerRound);
    expect(plan[1]).toEqual(['set', 'p:v', 'c1/1'.padEnd(32, '.')]);
  });

  it('notices a write that got lost between two rounds', () => {
    const { store, round } = make();
    round();
    store.tamper('p:v', 'old');
    expect(round()).toEqual([
      { command: 'get p:v', expected: expect.stringContaining('c1/1'), got: '"old"' },
    ]);
    expect(round()).toEqual([]);
  });

  it('notices a command that was done twice, and takes the count over', () => {
    const { store, round } = make();
    round();
    store.tamper('p:n', '2');
    expect(round().map(({ got }) => got)).toEqual(['3']);
    expect(round()).toEqual([]);
  });

  it.each<[string, (replies: Reply[]) => Reply[], number]>([
    ['a lost reply', (replies) => replies.slice(1), 4],
    ['a doubled reply', ([first = null, ...rest]) => [first, first, ...rest], 4],
    ['swapped replies', ([a = null, b = null, ...rest]) => [b, a, ...rest], 2],
    ['an error', ([, ...rest]) => [new Error('LOADING'), ...rest], 1],
    ['a surplus reply', (replies) => [...replies, 'OK'], 1],
    ['a count of the wrong type', (replies) => replies.with(3, '1'), 1],
  ])('notices %s', (_, spoil, wrong) => {
    const { store, check } = make();
    expect(check.check(spoil(store.answer(check)))).toHaveLength(wrong);
  });
});

describe('SequenceCheck', () => {
  const wrongOf = (...messages: string[]): number[] => {
    const check = new SequenceCheck();
    return messages.map((message) => check.receive(message).length);
  };

  it('takes each number once and in order', () => {
    expect(wrongOf('1', '2', '3')).toEqual([0, 0, 0]);
  });

  it('counts each lost message, doubles, late ones and nonsense', () => {
    expect(wrongOf('1', '4', '5')).toEqual([0, 2, 0]);
    expect(wrongOf('1', '1', '2')).toEqual([0, 1, 0]);
    expect(wrongOf('2', '1', '3')).toEqual([1, 1, 0]);
    expect(wrongOf('1', 'x', '2', '2.5')).toEqual([0, 1, 0, 1]);
  });

  it('settles what never came, once', () => {
    const check = new SequenceCheck();
    check.receive('1');
    expect(check.settle(3).map(({ expected }) => expected)).toEqual(['2', '3']);
    expect(check.settle(3)).toEqual([]);
    expect(check.receive('4')).toEqual([]);
  });
});

describe('DeliveryCheck', () => {
  it('wants each push exactly once and in order', () => {
    const check = new DeliveryCheck('c');
    expect(check.pop(check.push())).toEqual([]);
    expect(check.pop('c/1')).toEqual([{ command: 'blpop', expected: 'nothing', got: '"c/1"' }]);
    const [second, third] = [check.push(), check.push()];
    expect(check.pop(second)).toEqual([]);
    expect(check.pop(third)).toEqual([]);
    check.push();
    expect(check.pop('foreign')).toHaveLength(1);
  });
});

describe('GapMeter', () => {
  it('finds the longest time between two replies, and between request and reply', () => {
    const meter = new GapMeter(true);
    meter.start(0);
    for (const [asked, answered] of [
      [0, 1],
      [11, 12],
      [22, 40],
      [50, 51],
    ] as const) {
      meter.request(asked);
      meter.reply(answered);
    }
    expect(meter.end(60)).toEqual({ worst: { startMs: 12, endMs: 40 }, waitMs: 18 });
  });

  it('counts a silence that began before the window at full length, and forgets those before it', () => {
    const meter = new GapMeter(true);
    meter.start(0);
    meter.arrival(500);
    meter.begin();
    meter.arrival(530);
    meter.arrival(540);
    expect(meter.end(541).worst).toEqual({ startMs: 500, endMs: 530 });
  });

  it('counts what is open at the end, and what is open when the connection goes', () => {
    const hung = new GapMeter(true);
    hung.start(0);
    hung.request(10);
    expect(hung.end(100)).toEqual({ worst: { startMs: 0, endMs: 100 }, waitMs: 90 });
    const gone = new GapMeter(true);
    gone.start(0);
    gone.close(50);
    gone.arrival(70);
    expect(gone.end(100).worst).toEqual({ startMs: 0, endMs: 50 });
  });

  it('has no silence before the start, and none for a connection that is silent by design', () => {
    const waiting = new GapMeter(true);
    waiting.arrival(5);
    expect(waiting.end(100).worst).toBeNull();
    const idle = new GapMeter(false);
    idle.start(0);
    idle.request(90);
    idle.reply(95);
    expect(idle.end(100)).toEqual({ worst: null, waitMs: 5 });
  });

  it('pairs replies with requests in order', () => {
    const meter = new GapMeter(true);
    meter.request(0);
    meter.request(10);
    meter.reply(20);
    meter.reply(25);
    expect(meter.end(30).waitMs).toBe(20);
  });
});

describe('quantile', () => {
  it('is the nearest rank', () => {
    const values = [5, 1, 4, 2, 3];
    expect([0, 0.5, 0.99, 1].map((q) => quantile(values, q))).toEqual([1, 3, 5, 5]);
    expect(quantile([], 0.5)).toBe(0);
  });
});

describe('mixOf', () => {
  it('shares all connections out, the publisher included', () => {
    for (const connections of [1, 2, 5, 10, 100]) {
      const total = Object.values<number>({ ...mixOf(connections) }).reduce(
        (sum: number, count: number) => sum + count,
        0,
      );
      expect(total + 1).toBe(connections);
    }
    expect(mixOf(100)).toEqual({ pipelined: 46, idle: 49, blocked: 2, subscriber: 2 });
    expect(mixOf(100, { idle: 0 })).toMatchObject({ pipelined: 95, idle: 0 });
  });
});

describe('LineSplitter', () => {
  it('puts lines together from any pieces', () => {
    const lines: string[] = [];
    const splitter = new LineSplitter((line) => lines.push(line));
    for (const piece of ['{"a"', ':1}\n{"b":2}\n\n{', '"c":3}', '\n']) splitter.push(piece);
    expect(lines).toEqual(['{"a":1}', '{"b":2}', '{"c":3}']);
  });
});
