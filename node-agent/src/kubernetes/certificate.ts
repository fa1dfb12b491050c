/**
 * Keeps this node's certificate by Kubernetes' CertificateSigningRequests. The key is made here and never leaves the node. What
 * there is stays in use until what follows it is there; without an API server that is until it ends.
 */
import { ServalError } from '@serval/api';
import {
  authoritiesKey,
  authoritiesName,
  signerName as defaultSigner,
  systemClock,
  type Clock,
  type Logger,
} from '@serval/kube-runtime';
import { Backoff, Reflector, type KubeClient, type KubeObject } from '@serval/kube-runtime/kubernetes';
import type { CredentialFiles } from '../signalling/credentials.js';
import {
  answerOf,
  isUsable,
  nextAsk,
  renewalPart,
  requestName,
  retirementWait,
  uselessness,
  type Ask,
  type Held,
} from './certificate-rules.js';
import { authoritiesIn, heldOf, isOfKey } from './held.js';
import { SigningRequests } from './signing-requests.js';
import { KeyFolder, type NodeKey } from './key-folder.js';

export interface CertificateOptions {
  client: KubeClient;
  node: string;
  /** where keys and certificates are kept; made where it is missing */
  dir: string;
  /** of the ConfigMap `serval-ca` */
  caNamespace: string;
  log: Logger;
  /** who is asked to sign; default: the operator */
  signerName?: string;
  /** ends it, also while it waits for the first certificate */
  signal?: AbortSignal;
  times?: Partial<CertificateTimes>;
  clock?: Clock;
  /** uniform over [0, 1); default Math.random */
  random?: () => number;
}

export interface CertificateTimes {
  /** waits for an answer, and for an API server that does not answer: the first at most, and any at most, ms */
  firstWaitMs: number;
  mostWaitMs: number;
  /** the same after a refusal */
  firstRefusedMs: number;
  mostRefusedMs: number;
  /** nodes renew for the sake of another authority within so long, ms */
  spreadMs: number;
}

export const defaultTimes: CertificateTimes = {
  firstWaitMs: 1_000,
  mostWaitMs: 60_000,
  firstRefusedMs: 600_000,
  mostRefusedMs: 3_600_000,
  spreadMs: 3_600_000,
};

export interface KeptCertificate {
  /** they change under way: see Credentials.watch */
  files: CredentialFiles;
  /** when the certificate in use ends, ms since 1970 */
  expiresAt(): number;
  close(): Promise<void>;
}

/** Clocks are set, and processes stopped: when to ask is thought over so often, at least. */
const lookMs = 3_600_000;

/**
 * Resolves when there are files to be used: at once where valid ones are on disk, whatever became of the API server.
 * @throws ServalError where its folder can't be used; ERR_TIMEOUT where the signal ended it before
 */
export async function keepCertificate(options: CertificateOptions): Promise<KeptCertificate> {
  const keeper = new CertificateKeeper(options);
  await keeper.start();
  return keeper;
}

class CertificateKeeper implements KeptCertificate {
  private readonly folder: KeyFolder;
  private readonly times: CertificateTimes;
  private readonly clock: Clock;
  private readonly random: () => number;
  private readonly authorities: Reflector;
  private readonly requests: SigningRequests;
  private readonly waits: Backoff;
  private readonly refusals: Backoff;
  private readonly end = new AbortController();
  private held: Held | undefined;
  /** drawn once for each certificate */
  private part: number;
  private ca = '';
  /** when to renew since another authority signs, ms since 1970; undefined: there is no need, or it was done */
  private retireAt: number | undefined;
  /** nothing is asked before, ms since 1970 */
  private notBefore = 0;
  private isRefused = false;
  /** of the ConfigMap */
  private hasHeard = false;
  private running: Promise<void> | undefined;
  private wake: () => void = () => undefined;
  private tellUsable: () => void = () => undefined;

  constructor(private readonly options: CertificateOptions) {
    const { client, node, caNamespace, dir, log, times, signerName = defaultSigner } = options;
    const { clock = systemClock, random = Math.random } = options;
    this.folder = new KeyFolder(dir);
    this.requests = new SigningRequests(client, node, signerName, this.end.signal);
    this.times = { ...defaultTimes, ...times };
    [this.clock, this.random] = [clock, random];
    this.part = renewalPart(random());
    const { firstWaitMs, mostWaitMs, firstRefusedMs, mostRefusedMs } = this.times;
    this.waits = new Backoff({ firstMs: firstWaitMs, mostMs: mostWaitMs, random });
    this.refusals = new Backoff({ firstMs: firstRefusedMs, mostMs: mostRefusedMs, random });
    this.authorities = new Reflector({
      client,
      path: `/api/v1/namespaces/${encodeURIComponent(caNamespace)}/configmaps`,
      fieldSelector: `metadata.name=${authoritiesName}`,
      onChange: ({ type, object }) => {
        // Who takes it away takes nobody's trust away.
        if (type !== 'deleted') this.takeAuthorities(object);
      },
      onError: (error) =>
        log.warn({ err: error }, `ConfigMap ${caNamespace}/${authoritiesName} can not be read`),
    });
  }

  get files(): CredentialFiles {
    return this.folder.files;
  }

  expiresAt(): number {
    return this.held?.until ?? 0;
  }

  async start(): Promise<void> {
    const { signal } = this.options;
    this.ca = this.folder.authorities();
    this.look();
    const usable = new Promise<void>((resolve) => (this.tellUsable = resolve));
    if (isUsable(this.held, this.date())) this.tellUsable();
    void this.authorities.start();
    this.running = this.run();
    const ended = new Promise<never>((_, reject) => {
      const stop = (): void => reject(endedBefore(this.options.node));
      if (signal?.aborted) stop();
      else signal?.addEventListener('abort', stop, { once: true });
    });
    try {
      await Promise.race([usable, ended]);
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    this.end.abort();
    this.wake();
    await Promise.all([this.running, this.authorities.stop()]);
  }

  private async run(): Promise<void> {
    while (!this.end.signal.aborted) {
      const ask = this.next();
      const ms = Math.max(ask.at, this.notBefore) - this.date();
      if (ms > 0) await this.rest(Math.min(ms, lookMs));
      else await this.ask(ask).catch((error: unknown) => this.failed(error, ask));
    }
  }

  private next(): Ask {
    return nextAsk(this.held, { now: this.date(), part: this.part, retireAt: this.retireAt });
  }

  private async ask({ why }: Ask): Promise<void> {
    const key = this.folder.pending() ?? this.folder.makeKey();
    const name = requestName(this.options.node, key.name);
    const request = await this.requests.read(name);
    if (request === undefined) {
      await this.requests.submit(name, key.key);
      this.options.log.info({ request: name, why }, 'asks for a certificate');
      return this.wait();
    }
    const answer = answerOf(request, (text) => isOfKey(text, key.key));
    if (answer.is === 'pending') return this.wait();
    if (answer.is === 'refused') return this.refused(name, key, answer.reason);
    return this.take(name, key, answer.certificate);
  }

  private take(name: string, key: NodeKey, certificate: string): void {
    const held = heldOf(certificate, key.key, this.options.node, this.ca);
    if (typeof held === 'string') return this.refused(name, key, held);
    const trouble = uselessness(held, this.date());
    if (trouble !== undefined) {
      this.options.log.warn({ request: name, reason: trouble }, 'a new certificate can not be used');
      // One that was asked for long ago may have ended meanwhile: the next has a key of its own.
      if (held.until <= this.date()) this.folder.drop(key.name);
      return this.wait();
    }
    this.folder.install(key.name, certificate);
    this.waits.reset();
    // Whatever is wrong with clocks or lives of certificates, nobody is asked without a pause.
    this.notBefore = this.date() + this.times.firstWaitMs;
    this.refusals.reset();
    this.look();
    // Whoever signs has signed: it is not asked again for the same list's sake.
    this.retireAt = undefined;
    this.options.log.info({ until: new Date(held.until).toISOString() }, 'has a new certificate');
  }

  /** Reads what is on disk, and draws when to renew that. */
  private look(): void {
    const found = this.folder.certificate();
    const held = found && heldOf(found.cert, found.key, this.options.node, this.ca);
    if (typeof held === 'string')
      this.options.log.warn(
        { reason: held },
        'the certificate on disk can not be used; another is asked for',
      );
    this.held = typeof held === 'string' ? undefined : held;
    this.part = renewalPart(this.random());
    if (isUsable(this.held, this.date())) this.tellUsable();
  }

  private takeAuthorities(object: KubeObject): void {
    const text = (object as KubeObject & { data?: Record<string, string> }).data?.[authoritiesKey] ?? '';
    if (text !== this.ca) {
      if (!this.writeAuthorities(text)) return;
      if (!this.isRefused) this.notBefore = 0;
    } else if (this.hasHeard) return;
    this.hasHeard = true;
    this.look();
    const { held } = this;
    if (held !== undefined && !held.isOfFirst)
      this.retireAt = this.date() + retirementWait(held, this.times.spreadMs, this.random());
    this.wake();
  }

  private writeAuthorities(text: string): boolean {
    try {
      if (authoritiesIn(text).length === 0) throw new Error('it names none');
      this.folder.writeAuthorities(text);
      this.ca = text;
      return true;
    } catch (error) {
      this.options.log.warn(
        { err: error },
        `${authoritiesKey} of ConfigMap ${authoritiesName} can not be used`,
      );
      return false;
    }
  }

  private refused(name: string, key: NodeKey, reason: string): void {
    const ms = this.refusals.next();
    this.options.log.error(
      { request: name, reason, againInS: Math.round(ms / 1_000), expires: this.expiryText() },
      'is refused a certificate',
    );
    // What was refused once stays so: the next has another key, and so another name.
    this.folder.drop(key.name);
    this.isRefused = true;
    this.notBefore = this.date() + ms;
  }

  private failed(error: unknown, { why }: Ask): void {
    if (this.end.signal.aborted) return;
    this.options.log.warn(
      { err: error, why, expires: this.expiryText() },
      'could not ask for a certificate; it is tried again',
    );
    this.wait();
  }

  private wait(): void {
    this.isRefused = false;
    this.notBefore = this.date() + this.waits.next();
  }

  private expiryText(): string {
    return this.held === undefined ? 'there is none' : new Date(this.held.until).toISOString();
  }

  private date(): number {
    return this.clock.date().getTime();
  }

  private rest(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.clock.after(ms, resolve);
      this.wake = () => {
        cancel();
        resolve();
      };
    });
  }
}

function endedBefore(node: string): ServalError {
  return new ServalError('ERR_TIMEOUT', {
    subject: `certificate of node ${node}`,
    reason: 'the agent was ended before it had one',
    remedy: 'See in its log what the certificate waits for',
  });
}
