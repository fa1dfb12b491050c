/** A process that is a candidate for a lease, and does a piece of work every few milliseconds while it leads. */
import { KubeClient, LeaderElection } from '@serval/kube-runtime/kubernetes';

export interface CandidateChildOptions {
  kubeconfig: string;
  namespace: string;
  name: string;
  identity: string;
  leaseMs: number;
  renewMs: number;
  retryMs: number;
}

/** One line of what it says. `at` is of a clock that all processes of the machine share, ms. */
export type CandidateWord =
  | { what: 'leads'; at: number }
  /** a piece of work: only one who leads does any */
  | { what: 'works'; at: number }
  | { what: 'lost'; at: number; reason: string };

const workMs = 5;

function main({ kubeconfig, ...options }: CandidateChildOptions): void {
  const say = (word: { what: CandidateWord['what']; reason?: string }): void =>
    void process.stdout.write(`${JSON.stringify({ ...word, at: Number(process.hrtime.bigint()) / 1e6 })}\n`);
  const client = KubeClient.load('serval-test', kubeconfig);
  const election = new LeaderElection({
    client,
    ...options,
    onLeading: () => say({ what: 'leads' }),
    onLost: (reason) => say({ what: 'lost', reason }),
  });
  const work = setInterval(() => election.isLeading && say({ what: 'works' }), workMs);
  process.on('SIGTERM', () => {
    clearInterval(work);
    void election.stop().then(() => client.close());
  });
  election.start();
}

main(JSON.parse(process.argv[2] ?? '') as CandidateChildOptions);
