/** What `npm run bench -- NAME` can run. */
export interface Bench {
  /** one line for the list of benches */
  summary: string;
  help: string;
  /** Measures, prints its tables; returns the exit code. @throws UsageError */
  run(args: readonly string[], progress: Progress): Promise<number>;
}

/** Says what is being done, on standard error. */
export type Progress = (line: string) => void;
