/** Who speaks to an API server, as plain data, and as the file that Kubernetes' programs read. */

/** Where it is, how it is known, and who asks; certificates and key in PEM. */
export interface KubeUser {
  /** https://ADDRESS:PORT */
  server: string;
  ca: string;
  cert: string;
  key: string;
}

/** A kubeconfig of this user alone. JSON is YAML. */
export function kubeconfig({ server, ca, cert, key }: KubeUser): string {
  const name = 'serval';
  const base64 = (pem: string): string => Buffer.from(pem).toString('base64');
  const user = { 'client-certificate-data': base64(cert), 'client-key-data': base64(key) };
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name, cluster: { server, 'certificate-authority-data': base64(ca) } }],
    users: [{ name, user }],
    contexts: [{ name, context: { cluster: name, user: name } }],
    'current-context': name,
  };
  return `${JSON.stringify(config, null, 2)}\n`;
}
