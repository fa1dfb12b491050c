/** Stores of many agents in a process of their own: see agents-child.ts. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { AgentsChildOptions, AgentsWish, AgentsWord, StoreLook } from './agents-child.js';

const program = new URL('../../dist/cluster/agents-child.js', import.meta.url).pathname;

interface Waiter {
  resolve: (word: AgentsWord) => void;
  reject: (error: Error) => void;
}

export class AgentsProcess {
  private readonly waiting = new Map<AgentsWord['what'], Waiter>();

  private constructor(private readonly child: ChildProcess) {
    child.once('exit', (code, signal) => {
      for (const { reject } of this.waiting.values())
        reject(new Error(`agents ended with ${code ?? signal}`));
    });
    if (child.stdout === null) return;
    createInterface({ input: child.stdout }).on('line', (line) => {
      const word = JSON.parse(line) as AgentsWord;
      this.waiting.get(word.what)?.resolve(word);
    });
  }

  /** Resolves when all its stores have listed everything. */
  static async start(options: AgentsChildOptions): Promise<AgentsProcess> {
    const child = spawn(process.execPath, [program, JSON.stringify(options)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const agents = new AgentsProcess(child);
    await agents.next('ready');
    return agents;
  }

  async look(): Promise<StoreLook[]> {
    const { stores } = await this.ask('look');
    return stores;
  }

  /** Resolves when each store has heard from the API server again: after how long, ms. */
  async returned(): Promise<number[]> {
    const { afterMs } = await this.ask('returned');
    return afterMs;
  }

  async end(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const exit = once(this.child, 'exit');
    this.child.kill('SIGKILL');
    await exit;
  }

  private ask<Wish extends AgentsWish>(wish: Wish): Promise<Extract<AgentsWord, { what: Wish }>> {
    const answer = this.next(wish);
    this.child.stdin?.write(`${wish}\n`);
    return answer as Promise<Extract<AgentsWord, { what: Wish }>>;
  }

  private next(what: AgentsWord['what']): Promise<AgentsWord> {
    return new Promise((resolve, reject) => this.waiting.set(what, { resolve, reject }));
  }
}
