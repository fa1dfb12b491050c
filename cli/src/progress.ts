/** How a migration goes on, as it happens: one line that changes on a terminal, one line for each phase elsewhere. */
import { migrationResult, type ServalMigration } from '@serval/api';
import { stageOf } from './describe.js';
import { formatMs, printable } from './text.js';

export interface Screen {
  write(text: string): void;
  terminal: boolean;
  width: number;
}

const spinner = ['|', '/', '-', '\\'];
const frameMs = 100;
const eraseLine = '\r\u001b[K';

export class Progress {
  #phase = '';
  #since = performance.now();
  #frame = 0;
  #timer: NodeJS.Timeout | undefined;
  readonly #began = performance.now();

  constructor(
    private readonly screen: Screen,
    private readonly title: string,
  ) {
    if (screen.terminal) this.#timer = setInterval(() => this.#draw(), frameMs).unref();
  }

  show(migration: ServalMigration): void {
    const phase = stageOf(migration);
    const changed = phase !== this.#phase;
    if (changed) this.#since = performance.now();
    this.#phase = phase;
    if (this.screen.terminal) this.#draw();
    else if (changed && migrationResult(migration) === undefined)
      this.screen.write(
        `${this.title}: ${printable(phase)}, after ${formatMs(performance.now() - this.#began)}\n`,
      );
  }

  /** The line that changed goes. */
  end(): void {
    clearInterval(this.#timer);
    if (this.screen.terminal) this.screen.write(eraseLine);
  }

  #draw(): void {
    this.#frame = (this.#frame + 1) % spinner.length;
    const took = formatMs(performance.now() - this.#since);
    const all = formatMs(performance.now() - this.#began);
    const text = `${spinner[this.#frame] ?? ''} ${this.title}: ${printable(this.#phase)} ${took} (${all} in all)`;
    this.screen.write(`${eraseLine}${text.slice(0, this.screen.width - 1)}`);
  }
}
