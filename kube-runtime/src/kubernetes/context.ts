/** A kubeconfig as kubectl reads it: which cluster, as whom, in which namespace. */
import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import { KubeConfig } from '@kubernetes/client-node';
import { ServalError } from '@serval/api';

export interface ContextOptions {
  /** a file; default: KUBECONFIG, then ~/.kube/config, then the service account of a pod */
  kubeconfig?: string;
  /** one of its contexts; default: its current one */
  context?: string;
}

export interface KubeContext {
  config: KubeConfig;
  /** of the API server */
  server: string;
  /** its name; empty in a pod */
  name: string;
  /** that it says, or `default` */
  namespace: string;
  /** all that could be named */
  known: string[];
}

const serviceAccount = '/var/run/secrets/kubernetes.io/serviceaccount/token';

/** @throws ServalError where there is none, it can't be read, or has no such context */
export function loadContext({ kubeconfig, context }: ContextOptions): KubeContext {
  const config = read(kubeconfig);
  const known = config.getContexts().map(({ name }) => name);
  if (context !== undefined) {
    if (!known.includes(context)) throw noContext(context, known);
    config.setCurrentContext(context);
  }
  const cluster = config.getCurrentCluster();
  if (cluster === null) throw noCluster(config.getCurrentContext(), known);
  const name = config.getCurrentContext();
  const namespace = config.getContextObject(name)?.namespace ?? 'default';
  return { config, server: cluster.server, name, namespace, known };
}

function read(file: string | undefined): KubeConfig {
  const config = new KubeConfig();
  // Without any file the library would ask whoever listens at port 8080 of this machine.
  if (file === undefined && !isAnywhere())
    throw new ServalError('ERR_NOT_FOUND', {
      subject: 'kubeconfig',
      reason:
        named().length === 0
          ? 'there is none: KUBECONFIG is not set, and ~/.kube/config does not exist'
          : `there is none: ${named().join(', ')} in KUBECONFIG can not be found`,
      remedy: 'Name one with --kubeconfig or KUBECONFIG',
    });
  try {
    if (file !== undefined) config.loadFromFile(file);
    else if (named().length > 0) merge(config, named());
    else config.loadFromDefault();
    return config;
  } catch (cause) {
    throw new ServalError('ERR_BAD_INPUT', {
      subject: `kubeconfig ${file ?? process.env['KUBECONFIG'] ?? '~/.kube/config'}`,
      reason: `it can not be read: ${(cause as Error).message}`,
      remedy: 'Name another with --kubeconfig, or mend this one',
      cause,
    });
  }
}

/** Files of KUBECONFIG. */
function named(): string[] {
  return (process.env['KUBECONFIG'] ?? '').split(delimiter).filter((each) => each !== '');
}

/** As kubectl does it: of several files some may be missing, and what the first says counts. */
function merge(config: KubeConfig, files: readonly string[]): void {
  const there = files.length === 1 ? files : files.filter((each) => existsSync(each));
  there.forEach((each, i) => {
    if (i === 0) return config.loadFromFile(each);
    const more = new KubeConfig();
    more.loadFromFile(each);
    for (const kind of ['clusters', 'users', 'contexts'] as const) withoutKnown(more[kind], config[kind]);
    config.mergeConfig(more, config.getCurrentContext() !== '');
  });
}

/** What is named twice the library refuses. */
function withoutKnown(items: Array<{ name: string }>, known: ReadonlyArray<{ name: string }>): void {
  const kept = items.filter(({ name }) => !known.some((each) => each.name === name));
  items.splice(0, items.length, ...kept);
}

function isAnywhere(): boolean {
  const files = named().length === 0 ? [join(homedir(), '.kube/config'), serviceAccount] : named();
  return files.some((each) => existsSync(each));
}

function noContext(context: string, known: readonly string[]): ServalError {
  return new ServalError('ERR_NOT_FOUND', {
    subject: `context ${context}`,
    reason: 'the kubeconfig has no such context',
    remedy: known.length === 0 ? 'It has none at all; name another file' : `It has ${known.join(', ')}`,
  });
}

function noCluster(context: string, known: readonly string[]): ServalError {
  return new ServalError('ERR_BAD_INPUT', {
    subject: 'kubeconfig',
    reason:
      context === ''
        ? 'it has no current context'
        : `its context ${context} names a cluster or user that it does not have`,
    remedy: known.length === 0 ? 'Name another file' : `Choose one with --context: ${known.join(', ')}`,
  });
}
