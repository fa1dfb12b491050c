/** The agent's side as a process: see agent-child.ts. */
import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { stop } from '../shell.js';
import type { AgentChildOptions, AgentWord } from './agent-child.js';
import { namespace } from './objects.js';

const program = new URL('agent-child.js', import.meta.url).pathname;
const patienceMs = 30_000;

type Plan = Extract<AgentWord, { what: 'plan' }>;

export class AgentSide {
  private listeners = new Set<(word: AgentWord) => void>();

  private constructor(private readonly child: ChildProcess) {
    if (child.stdout === null) return;
    createInterface({ input: child.stdout }).on('line', (line) => {
      const word = JSON.parse(line) as AgentWord;
      for (const listener of this.listeners) listener(word);
    });
  }

  /** Resolves when it has planned all that there is. */
  static async start(options: AgentChildOptions): Promise<AgentSide> {
    const child = spawn(process.execPath, [program, JSON.stringify(options)], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const agent = new AgentSide(child);
    await agent.heard('the agent is ready', (word) => word.what === 'ready' || undefined);
    return agent;
  }

  get pid(): number {
    return this.child.pid ?? 0;
  }

  /** Resolves with when its plan of this service has, or has no more, this address, on the machine's clock, ms. */
  planHolds(service: string, address: string, isThere: boolean): Promise<number> {
    const isIt = (word: AgentWord): word is Plan =>
      word.what === 'plan' &&
      word.service === `${namespace}/${service}` &&
      word.ready.includes(address) === isThere;
    return this.heard(`${address} of ${service} is ${isThere ? 'in' : 'out'}`, (word) =>
      isIt(word) ? word.at : undefined,
    );
  }

  end(): Promise<void> {
    return stop(this.child);
  }

  private heard<Value>(what: string, take: (word: AgentWord) => Value | undefined): Promise<Value> {
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => settle(() => reject(new Error(`waited in vain: ${what}`))), patienceMs);
      const settle = (then: () => void): void => {
        clearTimeout(late);
        this.listeners.delete(listener);
        then();
      };
      const listener = (word: AgentWord): void => {
        const found = take(word);
        if (found !== undefined) settle(() => resolve(found));
      };
      this.listeners.add(listener);
    });
  }
}
