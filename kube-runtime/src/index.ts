/** Where resources are, and how to read and write them. */
export type * from './store.js';
export { DirectoryStore, type DirectoryOptions } from './directory.js';
export { NodeDirectory, type HostDirectory } from './nodes.js';
export { compile, type FieldProblem, type Validator } from './validate.js';
export { KubeClient, type KubeRequest } from './kubernetes/client.js';
export { KubernetesStore, type KubeKind, type KubernetesOptions } from './kubernetes/store.js';
