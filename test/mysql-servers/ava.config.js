/** Tests that need a server from the operating system's packages: see run.sh. `npm test` leaves them out. */
// oxlint-disable-next-line import/no-default-export -- ava finds its configuration in no other way.
export default {
  extensions: ['ts'],
  files: ['test/mysql-servers/**/*.test.ts'],
  timeout: '2m',
  workerThreads: false,
};
