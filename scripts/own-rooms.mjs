/** For esbuild: our own rooms from their sources, so that nothing has to be built before. */
import { readFileSync } from 'node:fs';
import { at } from './commands.mjs';

/** In place of what `exports` says is built of them. */
export const ownRooms = {
  name: 'own-rooms',
  setup({ onResolve }) {
    onResolve({ filter: /^@serval\// }, ({ path }) => {
      const [, room, ...rest] = path.split('/');
      const { exports } = JSON.parse(readFileSync(at(room, 'package.json'), 'utf8'));
      const built = exports[['.', ...rest].join('/')].default;
      return { path: at(room, built.replace(/^\.\/dist\/(.*)\.js$/, 'src/$1.ts')) };
    });
  },
};
