/**
 * A real Kubernetes control plane: etcd, API server, controller manager and, where it is wanted, scheduler on loopback, with an
 * authority of its own. There are no nodes: pods are objects. Several may run at once; nothing of one runs on without this process.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ServalError } from '@serval/api';
import { accountKeyOptions } from './account-keys.js';
import { apiServer, servingNames, startApiServer, type ApiServerSetup } from './api-server.js';
import { kubernetesBinaries, type KubernetesProgram } from './binaries.js';
import { Authority, readPair } from './certificates.js';
import { startControllerManager } from './controller-manager.js';
import { Daemons } from './daemons.js';
import { startEtcd } from './etcd.js';
import { clusterFolder } from './folder.js';
import { kubeconfig, type KubeUser } from './kubeconfig.js';
import { loopback, onFreePorts } from './ports.js';
import { countRequests, type RequestCounts } from './request-counts.js';
import { askKubeText } from './request.js';
import { startScheduler } from './scheduler.js';

export interface ControlPlaneOptions {
  /** whether there is one; default true. Without, services get no EndpointSlices and namespaces no default account. */
  controllerManager?: boolean;
  /** whether there is one; default false */
  scheduler?: boolean;
  /** further options of the programs; where an option takes one value, this one counts */
  apiServerOptions?: readonly string[];
  controllerManagerOptions?: readonly string[];
  /** is told when a program is missing and gets built, which takes minutes */
  progress?: (line: string) => void;
}

/** What the API server needs, and who may ask it anything. */
interface Identities {
  authority: Authority;
  admin: KubeUser;
  setup: ApiServerSetup;
  accountKey: string;
}

export class ControlPlane {
  private readonly daemons: Daemons;
  private identities: Identities | undefined;
  private kubeconfigs = 0;

  private constructor(
    /** keys, kubeconfigs and logs (NAME.log) */
    readonly folder: string,
    private readonly programs: string,
    private readonly options: ControlPlaneOptions,
  ) {
    this.daemons = new Daemons(folder);
  }

  /**
   * Resolves when it is ready: with a controller manager, when pods can be made.
   * @throws ServalError ERR_NOT_FOUND or ERR_UNSUPPORTED where a program is missing, and as Daemon.ready does; nothing is
   *   left behind then
   */
  static async start(options: ControlPlaneOptions = {}): Promise<ControlPlane> {
    const names: KubernetesProgram[] = ['kube-apiserver'];
    if (options.controllerManager !== false) names.push('kube-controller-manager');
    if (options.scheduler === true) names.push('kube-scheduler');
    const { folder } = await kubernetesBinaries(names, options.progress ?? (() => undefined));
    const plane = new ControlPlane(clusterFolder(), folder, options);
    try {
      await plane.make();
      return plane;
    } catch (error) {
      await plane.stop();
      throw error;
    }
  }

  /** Who may do everything (group system:masters). */
  admin(): KubeUser {
    return this.known().admin;
  }

  /** A user with a certificate for a year, with this name (at most 64 characters) and these groups. */
  async issueUser(name: string, groups: readonly string[] = []): Promise<KubeUser> {
    const { authority, admin } = this.known();
    return { ...admin, ...readPair(await authority.client({ name, groups })) };
  }

  /** Writes a kubeconfig for a user; returns its path, which lasts as long as the control plane. */
  kubeconfigFile(user: KubeUser): string {
    const file = join(this.folder, `${++this.kubeconfigs}.kubeconfig`);
    writeFileSync(file, kubeconfig(user), { mode: 0o600 });
    return file;
  }

  /** What the API server was asked since it was last started. @throws ServalError ERR_UNREACHABLE while it is stopped */
  async requests(): Promise<RequestCounts> {
    return countRequests(await askKubeText(this.admin(), 'GET', '/metrics'));
  }

  /** Asks it to end, and waits until it has. */
  stopApiServer(): Promise<void> {
    return this.endApiServer('SIGTERM');
  }

  /** Ends it without a word. */
  killApiServer(): Promise<void> {
    return this.endApiServer('SIGKILL');
  }

  /**
   * Starts it where it was, with all that it had. Resolves when it is ready.
   * @throws ServalError ERR_CONFLICT where it runs, or somebody else has its port by now
   */
  async startApiServer(): Promise<void> {
    const { setup, admin } = this.known();
    const pid = this.daemons.find(apiServer)?.pid;
    if (pid !== undefined)
      throw new ServalError('ERR_CONFLICT', {
        subject: 'API server',
        reason: `it runs as process ${pid}`,
        remedy: 'Stop it first',
      });
    await startApiServer(this.daemons, setup, admin);
  }

  /** Nobody gets an answer until it goes on; connections stay open, and new ones are taken by the kernel. */
  pauseApiServer(): void {
    this.daemons.find(apiServer)?.signal('SIGSTOP');
  }

  /** After pauseApiServer(). */
  continueApiServer(): void {
    this.daemons.find(apiServer)?.signal('SIGCONT');
  }

  /** The programs that run at the moment, by name. */
  pids(): ReadonlyMap<string, number> {
    return this.daemons.pids();
  }

  /** Ends it and removes its folder, which stays where SERVAL_KEEP_LOGS is set. May be repeated. */
  async stop(): Promise<void> {
    // What they know is thrown away: nobody has to be asked.
    await this.daemons.kill();
    if (process.env['SERVAL_KEEP_LOGS'] === undefined) rmSync(this.folder, { recursive: true, force: true });
  }

  private async make(): Promise<void> {
    const identities = await this.identify(await startEtcd(this.daemons));
    await onFreePorts(1, async ([port = 0]) => {
      const admin = { ...identities.admin, server: `https://${loopback}:${port}` };
      this.identities = { ...identities, admin };
      await this.startApiServer();
    });
    if (this.options.controllerManager !== false) await this.manage();
    if (this.options.scheduler === true) await this.schedule();
  }

  private async manage(): Promise<void> {
    const { authority, admin, accountKey } = this.known();
    const own = await this.issueUser('system:kube-controller-manager');
    await startControllerManager(
      this.daemons,
      {
        program: join(this.programs, 'kube-controller-manager'),
        kubeconfig: this.kubeconfigFile(own),
        authority: authority.files,
        accountKey,
        more: this.options.controllerManagerOptions ?? [],
      },
      admin,
    );
  }

  private async schedule(): Promise<void> {
    const own = await this.issueUser('system:kube-scheduler');
    const setup = { program: join(this.programs, 'kube-scheduler'), kubeconfig: this.kubeconfigFile(own) };
    await startScheduler(this.daemons, setup);
  }

  /** Where the API server will be is not known yet. */
  private async identify(etcdUrl: string): Promise<Identities> {
    const authority = await Authority.make(join(this.folder, 'certificates'));
    const [serving, admin] = await Promise.all([
      authority.server({ name: 'kube-apiserver' }, servingNames),
      authority.client({ name: 'admin', groups: ['system:masters'] }),
    ]);
    const accounts = accountKeyOptions(this.folder);
    const setup = {
      program: join(this.programs, 'kube-apiserver'),
      etcdUrl,
      ca: authority.files.cert,
      serving,
      accountOptions: accounts.apiServer,
      more: this.options.apiServerOptions ?? [],
    };
    const ca = readFileSync(authority.files.cert, 'utf8');
    return {
      authority,
      admin: { server: '', ca, ...readPair(admin) },
      setup,
      accountKey: accounts.privateKey,
    };
  }

  private async endApiServer(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    await this.daemons.find(apiServer)?.end(signal);
  }

  private known(): Identities {
    if (this.identities !== undefined) return this.identities;
    throw new ServalError('ERR_NOT_FOUND', {
      subject: 'control plane',
      reason: 'it has not been started',
      remedy: 'Wait for ControlPlane.start',
    });
  }
}
