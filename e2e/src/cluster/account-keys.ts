/** What signs the tokens of service accounts. */
import { generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';

/**
 * Makes a key pair in this folder.
 * @returns the file of the private one, and the API server's options for both
 */
export function accountKeyOptions(folder: string): { privateKey: string; apiServer: string[] } {
  const { publicKey, privateKey } = generateKeyPairSync('ec', {
    namedCurve: 'P-256',
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
  const files = { public: join(folder, 'accounts.pub'), private: join(folder, 'accounts.key') };
  writeFileSync(files.public, publicKey);
  writeFileSync(files.private, privateKey, { mode: 0o600 });
  return {
    privateKey: files.private,
    apiServer: [
      '--service-account-issuer=https://kubernetes.default.svc',
      `--service-account-key-file=${files.public}`,
      `--service-account-signing-key-file=${files.private}`,
    ],
  };
}
