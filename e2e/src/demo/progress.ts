/** Where progress is shown; process.stdout fits. */
export interface ProgressOutput {
  isTTY?: boolean;
  /** width of the terminal, characters */
  columns?: number;
  write(text: string): unknown;
}

export interface ProgressOptions {
  /** default process.stdout */
  output?: ProgressOutput;
  /** default process.env: NO_COLOR and TERM are read */
  env?: Readonly<Record<string, string | undefined>>;
  /** monotonic clock, ms */
  now?: () => number;
}

/** A step that is under way. */
export interface Step {
  /** Says what it is at; on a terminal only. */
  update(detail: string): void;
  /** Ends it well. */
  done(note?: string): void;
  /** Ends it badly. */
  fail(note?: string): void;
}

const frames = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
const framePeriodMs = 100;
const clearLine = '\r\x1b[2K';
const colors = { green: 32, red: 31, dim: 2, bold: 1 };

interface Live {
  title: string;
  detail: string;
  beganMs: number;
  timer: NodeJS.Timeout;
  frame: number;
}

/**
 * Shows what the demo is at: on a terminal one live line with a spinner and the time it takes, elsewhere plain lines.
 * One step is live at a time; a new step leaves an unfinished one behind as it is.
 */
export class Progress {
  private readonly output: ProgressOutput;
  private readonly now: () => number;
  private readonly live: boolean;
  private readonly colored: boolean;
  private current: Live | undefined;

  constructor(options: ProgressOptions = {}) {
    const env = options.env ?? process.env;
    this.output = options.output ?? process.stdout;
    this.now = options.now ?? (() => performance.now());
    this.live = this.output.isTTY === true && env['TERM'] !== 'dumb';
    this.colored = this.live && (env['NO_COLOR'] ?? '') === '';
  }

  /** A headline before a group of steps. */
  heading(text: string): void {
    this.line(`\n${this.paint('bold', text)}`);
  }

  /** A line of its own: it stays above the live line. */
  note(text: string): void {
    this.line(text);
  }

  /** Begins a step. */
  step(title: string): Step {
    this.forget();
    const beganMs = this.now();
    if (!this.live) this.output.write(`  ${title} ...\n`);
    const timer = setInterval(() => this.draw(), framePeriodMs);
    timer.unref();
    if (!this.live) clearInterval(timer);
    const step: Live = { title, detail: '', beganMs, timer, frame: 0 };
    this.current = step;
    this.draw();
    return {
      update: (detail) => {
        step.detail = detail;
        if (this.current === step) this.draw();
      },
      done: (note) => this.end(step, this.paint('green', '✓'), note),
      fail: (note) => this.end(step, this.paint('red', '✗'), note),
    };
  }

  /** Does `work` as a step: it is done when the work is, and fails with it. */
  async run<T>(title: string, work: (step: Step) => Promise<T>): Promise<T> {
    const step = this.step(title);
    try {
      const result = await work(step);
      step.done();
      return result;
    } catch (error) {
      step.fail(error instanceof Error ? error.message : String(error));
      throw error;
    }
  }

  /** Removes the live line and stops the spinner. */
  close(): void {
    this.forget();
  }

  private end(step: Live, mark: string, note: string | undefined): void {
    clearInterval(step.timer);
    if (this.current !== step) return;
    this.forget();
    const took = this.paint('dim', formatElapsed(this.now() - step.beganMs));
    this.output.write(`  ${mark} ${step.title}${note === undefined ? '' : `: ${note}`}  ${took}\n`);
  }

  private line(text: string): void {
    if (this.live && this.current !== undefined) this.output.write(clearLine);
    this.output.write(`${text}\n`);
    this.draw();
  }

  private draw(): void {
    const step = this.current;
    if (!this.live || step === undefined) return;
    const frame = frames[step.frame % frames.length] ?? '';
    step.frame += 1;
    const elapsed = formatElapsed(this.now() - step.beganMs);
    // a line that wraps could not be cleared
    const room = Math.max(10, (this.output.columns ?? 80) - elapsed.length - 7);
    const text = (step.detail === '' ? step.title : `${step.title}: ${step.detail}`).slice(0, room);
    this.output.write(`${clearLine}  ${frame} ${text}  ${this.paint('dim', elapsed)}`);
  }

  private forget(): void {
    if (this.current === undefined) return;
    clearInterval(this.current.timer);
    if (this.live) this.output.write(clearLine);
    this.current = undefined;
  }

  private paint(color: keyof typeof colors, text: string): string {
    return this.colored ? `\x1b[${colors[color]}m${text}\x1b[0m` : text;
  }
}

/** A step's time for people: ms below one second, else seconds with a tenth. */
export function formatElapsed(ms: number): string {
  return ms < 999.5 ? `${ms.toFixed(0)} ms` : `${(ms / 1000).toFixed(1)} s`;
}
