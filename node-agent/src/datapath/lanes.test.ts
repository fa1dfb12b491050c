import { describe, expect, it } from '@jest/globals';
import { Lanes } from './lanes.js';

/** Work that ends when it is told to. */
class Job {
  end: () => void = () => undefined;
  private readonly ended = new Promise<void>((resolve) => (this.end = resolve));

  constructor(
    readonly name: string,
    private readonly log: string[],
  ) {}

  run = async (): Promise<string> => {
    this.log.push(`${this.name} begins`);
    await this.ended;
    this.log.push(`${this.name} ends`);
    return this.name;
  };
}

describe('lanes', () => {
  it('keep the order within a lane, and wait for nobody else', async () => {
    const log: string[] = [];
    const [slow, second, other] = ['slow', 'second', 'other'].map((name) => new Job(name, log)) as [
      Job,
      Job,
      Job,
    ];
    const lanes = new Lanes();
    const results = [lanes.run('a', slow.run), lanes.run('a', second.run), lanes.run('b', other.run)];
    second.end();
    other.end();
    await results[2];
    expect(log).toEqual(['slow begins', 'other begins', 'other ends']);
    slow.end();
    expect(await Promise.all(results)).toEqual(['slow', 'second', 'other']);
    expect(log.slice(3)).toEqual(['slow ends', 'second begins', 'second ends']);
  });

  it('go on after work that failed, and tell its own caller', async () => {
    const lanes = new Lanes();
    const failed = lanes.run('a', () => Promise.reject(new Error('no')));
    const next = lanes.run('a', () => Promise.resolve('yes'));
    await expect(failed).rejects.toThrow('no');
    expect(await next).toBe('yes');
  });

  it('are idle when everything has ended, what was asked for meanwhile too', async () => {
    const lanes = new Lanes();
    const log: string[] = [];
    void lanes.run('a', async () => {
      await Promise.resolve();
      void lanes.run('b', () => Promise.resolve(log.push('later')));
      log.push('first');
    });
    await lanes.idle();
    expect(log).toEqual(['first', 'later']);
    await lanes.idle();
  });
});
