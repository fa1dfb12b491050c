/**
 * Keeps this node's ServalNode: made of the Node, mended when somebody changes or deletes it. It is written only when something
 * has changed: every agent watches all of them, so that a sign of life from each would be the most that an API server does.
 */
import { isDeepStrictEqual } from 'node:util';
import { ServalError, type ServalNode } from '@serval/api';
import { WorkQueue, type Logger, type ResourceStore } from '@serval/kube-runtime';
import { Reflector, type KubeClient } from '@serval/kube-runtime/kubernetes';
import { nodeSpec, nodeStatus, servalNode, type NodeFacts, type NodeObject } from './registration-rules.js';

export interface RegistrationOptions {
  client: KubeClient;
  store: ResourceStore;
  node: string;
  /** of the agent's signalling */
  port: number;
  /** asked each time */
  facts: () => NodeFacts;
  /** what the Node says has changed: its own addresses, its pods' ranges */
  onSpec: (node: ServalNode) => void;
  log: Logger;
}

export class Registration {
  private readonly nodes: Reflector;
  private readonly queue: WorkQueue;
  private endWatch: () => void = () => undefined;
  private told: ServalNode | undefined;

  private constructor(private readonly options: RegistrationOptions) {
    const { client, node, log } = options;
    this.nodes = new Reflector({
      client,
      path: '/api/v1/nodes',
      fieldSelector: `metadata.name=${node}`,
      shape: used,
      onChange: () => this.touch(),
      onError: (error) => log.warn({ err: error, kind: 'Node' }, 'a watch broke; it is begun again'),
    });
    this.queue = new WorkQueue({
      concurrency: 1,
      reconcile: async () => {
        await this.reconcile();
        return {};
      },
      onError: (_, error) =>
        log.warn({ err: error }, 'the ServalNode of this node could not be written; it is tried again'),
    });
  }

  /** Resolves when the ServalNode is there, however long the API server takes. @throws ServalError ERR_NOT_FOUND: no such Node */
  static async start(options: RegistrationOptions): Promise<Registration> {
    const registration = new Registration(options);
    await registration.nodes.start();
    if (registration.object() === undefined) {
      await registration.nodes.stop();
      throw new ServalError('ERR_NOT_FOUND', {
        subject: `Node ${options.node}`,
        reason: 'the API server has no such Node',
        remedy: 'Give --node the name that `kubectl get nodes` shows for this machine',
      });
    }
    registration.endWatch = options.store.watch('ServalNode', ({ object }) => {
      if (object.metadata.name === options.node) registration.touch();
    });
    registration.touch();
    await registration.queue.idle();
    return registration;
  }

  /** Something that `facts` tells has changed. */
  touch(): void {
    this.queue.add(this.options.node);
  }

  async stop(): Promise<void> {
    this.endWatch();
    await this.nodes.stop();
    await this.queue.stop();
  }

  private object(): NodeObject | undefined {
    return this.nodes.get(this.options.node);
  }

  private async reconcile(): Promise<void> {
    const { store, node, port, facts, onSpec } = this.options;
    const object = this.object();
    const spec = object === undefined ? undefined : nodeSpec(object, port);
    // Whoever takes a Node away doesn't want its ServalNode back; the operator removes that.
    if (spec === undefined) return;
    const known = store.get('ServalNode', node);
    const declared = isDeepStrictEqual(known?.spec, spec)
      ? known
      : await store.apply<'ServalNode'>(servalNode(node, spec));
    if (declared === undefined) return;
    if (!isDeepStrictEqual(this.told?.spec, spec)) onSpec((this.told = declared));
    const status = nodeStatus(declared, facts(), new Date().toISOString());
    if (status !== undefined) await store.patchStatus('ServalNode', node, status);
  }
}

/** A Node has kilobytes of images and conditions that are of no use here. */
function used(object: NodeObject): NodeObject {
  const { name, uid, resourceVersion, labels } = object.metadata;
  return {
    metadata: {
      name,
      ...(uid === undefined ? {} : { uid }),
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
      ...(labels === undefined ? {} : { labels }),
    },
    ...(object.spec === undefined ? {} : { spec: object.spec }),
    ...(object.status?.addresses === undefined ? {} : { status: { addresses: object.status.addresses } }),
  };
}
